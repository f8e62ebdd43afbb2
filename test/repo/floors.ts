/**
 * Who may import whom. The table is the rule; what is not in it is not allowed.
 *
 * 1. Imports point down or stay in the folder.
 * 2. Another package is imported by its name, never by a path, so that each can be built and published alone.
 * 3. A package from outside is used only where `package.json` of the folder declares it, and on the pure floors only if the table names it.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { ROOT, type Source, type Violation } from './source.ts';

/** One row. The longest `folder` that holds a file is its floor. */
export interface Floor {
  readonly folder: string;
  /** Folders and files of the project that it may import, besides itself; a folder inside it that is a floor of its own must be named. */
  readonly imports: readonly string[];
  /** Packages from outside; `declared`: all that its package.json names. */
  readonly packages: readonly string[] | 'declared';
  /** Modules of Node. */
  readonly node: readonly string[] | 'all';
  /** In words, for the message. */
  readonly because: string;
}

/** The floors, from the ground up. */
export const FLOORS: readonly Floor[] = [
  { folder: 'proto', imports: [], packages: ['@bufbuild/protobuf'], node: [], because: 'the contracts stand on nothing but protobuf' },
  {
    folder: 'coordinator/engine/machine',
    imports: ['coordinator/engine/definition/graph.ts', 'coordinator/engine/definition/payload.ts'],
    packages: [],
    node: [],
    because: 'the state machine is pure and knows only the graph',
  },
  {
    folder: 'coordinator/engine/definition',
    imports: ['proto'],
    packages: ['yaml', '@marcbachmann/cel-js', 're2js', 'ajv'],
    node: ['node:crypto'],
    because: 'a definition is checked without a server',
  },
  {
    folder: 'coordinator/engine',
    imports: ['coordinator/engine/definition', 'coordinator/engine/machine', 'proto'],
    packages: [],
    node: [],
    because: 'the engine is a package that runs without a server',
  },
  {
    folder: 'coordinator/store',
    imports: ['coordinator/engine', 'proto'],
    packages: 'declared',
    node: 'all',
    because: 'a store keeps events',
  },
  {
    folder: 'coordinator/shard',
    imports: ['coordinator/engine', 'coordinator/store/store.ts', 'coordinator/gateway/port.ts', 'proto'],
    packages: ['@bufbuild/protobuf'],
    node: [],
    because: 'a shard reaches the world through its ports',
  },
  {
    folder: 'coordinator/gateway',
    imports: ['coordinator/shard', 'coordinator/store/store.ts', 'coordinator/engine', 'proto'],
    packages: 'declared',
    node: 'all',
    because: 'the gateway stands on the shard',
  },
  {
    folder: 'coordinator/api',
    // The gateway is a neighbour, not a floor below: its list of workers is shown by one service.
    imports: [
      'coordinator/shard',
      'coordinator/store/store.ts',
      'coordinator/store/codec.ts',
      'coordinator/gateway/gateway.ts',
      'coordinator/engine',
      'proto',
    ],
    packages: 'declared',
    node: 'all',
    because: 'the faces stand on the shard',
  },
  {
    folder: 'coordinator',
    imports: ['coordinator/engine', 'coordinator/store', 'coordinator/shard', 'coordinator/gateway', 'coordinator/api', 'proto'],
    packages: 'declared',
    node: 'all',
    because: 'the program puts the coordinator together, and nothing else',
  },
  {
    folder: 'sdk',
    imports: ['proto', 'coordinator/engine'],
    packages: 'declared',
    node: 'all',
    because: 'a client knows the contracts and the language',
  },
  {
    folder: 'sdk/cli',
    imports: ['sdk', 'proto', 'coordinator/engine'],
    packages: 'declared',
    node: 'all',
    because: 'the command starts coordinator and worker as processes',
  },
  {
    folder: 'worker',
    imports: ['proto'],
    packages: 'declared',
    node: 'all',
    because: 'a worker and a coordinator share only the contracts',
  },
  {
    folder: 'examples',
    imports: ['sdk/index.ts', 'worker/index.ts'],
    packages: 'declared',
    node: 'all',
    because: 'examples use what people use',
  },
];

const PACKAGES = ['proto', 'coordinator/engine', 'coordinator', 'sdk', 'worker', 'examples'];
const SCOPE = '@workflow-orchestrator/';

/** What is wrong with the imports of one file. */
export function checkFloors(source: Source): Violation[] {
  const row = floorOf(source.path);
  if (row === undefined)
    return [{ path: source.path, line: 1, rule: 'stands on no floor: add its folder to the table in test/repo/floors.ts' }];
  return source.imports.flatMap(({ specifier, line }) => {
    const rule = faultOf(row, source.path, specifier);
    return rule === null ? [] : [{ path: source.path, line, rule: `${rule} (${row.folder}: ${row.because})` }];
  });
}

/** Says why `specifier` may not be imported on this floor, or null. */
function faultOf(row: Floor, path: string, specifier: string): string | null {
  if (specifier.startsWith('node:')) {
    return row.node === 'all' || row.node.includes(specifier) ? null : `may not import ${specifier}`;
  }
  const own = within(PACKAGES, path);
  if (specifier.startsWith('.')) {
    const target = posix.join(posix.dirname(path), specifier);
    if (within(PACKAGES, target) !== own) return `imports ${target} of another package by its path: use the name of the package`;
    if (!specifier.endsWith('.ts') && !specifier.endsWith('.json')) return `imports '${specifier}' without its ending`;
    return allowed(row, target) ? null : `may not import ${target}`;
  }
  if (specifier.startsWith(SCOPE)) {
    const target = exportOf(specifier);
    if (target === null) return `imports ${specifier}, which no package of the project exports`;
    if (within(PACKAGES, target) === own) return `imports its own package by name: use a path`;
    if (!declared(path).has(packageOf(specifier))) return `imports ${specifier}, which its package.json does not declare`;
    return allowed(row, target) ? null : `may not import ${specifier}`;
  }
  const name = packageOf(specifier);
  if (row.packages !== 'declared' && !row.packages.includes(name)) return `may not import ${name}`;
  return declared(path).has(name) ? null : `imports ${name}, which its package.json does not declare`;
}

function allowed(row: Floor, target: string): boolean {
  if (floorOf(target)?.folder === row.folder) return true;
  return row.imports.some((place) => target === place || target.startsWith(`${place}/`));
}

/** The row that holds a file. */
function floorOf(path: string): Floor | undefined {
  const folder = within(
    FLOORS.map((row) => row.folder),
    path,
  );
  return FLOORS.find((row) => row.folder === folder);
}

/** The longest of `folders` that holds `path`, or null. */
function within(folders: readonly string[], path: string): string | null {
  const holding = folders.filter((folder) => path.startsWith(`${folder}/`)).sort((a, b) => b.length - a.length);
  return holding[0] ?? null;
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

type Manifest = { name: string; dependencies?: Record<string, string>; exports?: Record<string, Record<string, string> | string> };
const manifests = new Map<string, Manifest>();

function manifest(folder: string): Manifest {
  const known = manifests.get(folder);
  if (known !== undefined) return known;
  const read = JSON.parse(readFileSync(join(ROOT, folder, 'package.json'), 'utf8')) as Manifest;
  manifests.set(folder, read);
  return read;
}

/** The packages that the nearest package.json above a file declares. */
function declared(path: string): Set<string> {
  let folder = dirname(path);
  while (!existsSync(join(ROOT, folder, 'package.json'))) folder = dirname(folder);
  return new Set(Object.keys(manifest(folder).dependencies ?? {}));
}

/** The source file behind `@workflow-orchestrator/...`, or null. */
function exportOf(specifier: string): string | null {
  for (const folder of PACKAGES) {
    const { name, exports } = manifest(folder);
    if (packageOf(specifier) !== name) continue;
    const entry = exports?.[`.${specifier.slice(name.length)}`];
    const file = typeof entry === 'string' ? entry : entry?.['workflow-orchestrator'];
    return file === undefined ? null : posix.join(folder, file);
  }
  return null;
}
