/**
 * A Python that can run the Python worker of the examples, with its messages generated; or why there is none.
 */
import { spawnSync } from 'node:child_process';
import { ROOT } from '../repo/source.ts';

/** Where to find it. */
export type Python = { readonly kind: 'there'; readonly program: string } | { readonly kind: 'missing'; readonly why: string };

const folder = `${ROOT}/examples/python-worker`;

export const python: Python = find();

function find(): Python {
  // Debian's packages are seen by Debian's Python only, whatever comes first on the path.
  const program = ['/usr/bin/python3', 'python3'].find(
    (candidate) => spawnSync(candidate, ['-c', 'import google.protobuf, websockets'], { stdio: 'ignore' }).status === 0,
  );
  if (program === undefined)
    return { kind: 'missing', why: 'no Python with protobuf and websockets (Debian: python3-protobuf python3-websockets)' };
  const generated = spawnSync(`${folder}/generate`, { encoding: 'utf8', env: { ...process.env, PYTHON: program } });
  if (generated.status === 0) return { kind: 'there', program };
  return { kind: 'missing', why: `no protoc (Debian: protobuf-compiler libprotobuf-dev): ${generated.stderr?.trim().split('\n').at(-1)}` };
}
