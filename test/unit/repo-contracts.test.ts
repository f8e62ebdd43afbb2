/**
 * The protobuf contracts: styled and commented as `buf.yaml` says, and the generated code is what they generate.
 */
import { execFile } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { projectFiles, ROOT } from '../repo/source.ts';

const run = promisify(execFile);

/** Runs buf in the project and gives back what it said, whether it was content or not. */
async function buf(...args: string[]): Promise<{ code: number; says: string }> {
  const path = `${join(ROOT, 'node_modules/.bin')}:${process.env.PATH}`;
  try {
    const { stdout, stderr } = await run('buf', args, { cwd: ROOT, env: { ...process.env, PATH: path } });
    return { code: 0, says: stdout + stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, says: `${stdout}${stderr}${error}` };
  }
}

t.test('every message, field, enum and call has a comment and the usual form', async (t) => {
  const { code, says } = await buf('lint');
  t.equal(code, 0, 'buf lint', { says });
});

t.test('generated code is fresh', async (t) => {
  const folder = t.testdir();
  const { code, says } = await buf('generate', '--output', folder);
  t.equal(code, 0, 'buf generate', { says });
  const generated = projectFiles('proto/gen/**/*');
  t.ok(generated.length > 0);
  const fresh = globSync('proto/gen/**/*', { cwd: folder, withFileTypes: true });
  const freshPaths = fresh.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
  t.same(generated, freshPaths.sort(), 'the same files: npm run generate');
  for (const path of freshPaths) {
    t.ok(readFileSync(join(folder, path)).equals(readFileSync(join(ROOT, path))), `${path} is what npm run generate makes`);
  }
});
