/**
 * The packages that are published, as people get them: built, packed, unpacked elsewhere, and used with the oldest Node they promise.
 */
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { ROOT } from '../repo/source.ts';

const run = promisify(execFile);

/** Folder of each package, in the order in which they build on each other. */
const PACKAGES = ['proto', 'coordinator/engine', 'sdk', 'worker'];
const BIN = join(ROOT, 'node_modules/.bin');

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly exports: Readonly<Record<string, { readonly default: string }>>;
  readonly bin?: Readonly<Record<string, string>>;
}

/** What needs a newer Node than the libraries, as their launchers say: `wf` for its terminal (22.12), the stock worker for HTTP, stores and computation (22.19). */
const NEWER = new Set(['@workflow-orchestrator/worker/stock', 'workflow-worker', 'wf']);
/** Entry points that are programs: importing one runs it. */
const PROGRAMS = new Set(['@workflow-orchestrator/worker/main']);

/** Pages with programs in TypeScript that people copy. */
const PAGES = ['README.md', 'QUICKSTART.md', 'sdk/README.md', 'worker/README.md'];

/** Those programs, each as a file: they are whole, with what they import. */
function snippets(): { readonly file: string; readonly text: string }[] {
  return PAGES.flatMap((page) =>
    [...readFileSync(join(ROOT, page), 'utf8').matchAll(/```ts\n([\s\S]*?)```/g)].map(([, text = ''], index) => ({
      file: `${page.toLowerCase().replaceAll(/[/.]/g, '-')}-${index + 1}.ts`,
      text,
    })),
  );
}

/** Uses a stock job type as built, in a process of its own as built. */
const COMPUTE = `
import { noConnections, openComputePool, stockHandlers } from '@workflow-orchestrator/worker/stock';
const pool = openComputePool({ size: 1 });
const { processing } = stockHandlers(noConnections(null), pool).handlers;
const quiet = () => {};
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };
const context = { signal: new AbortController().signal, log, progress: quiet, heartbeat: quiet };
console.log(await processing({ parameters: { operation: 'transform', data: [1, 2, 4], expression: '$sum($)' } }, context));
await pool.close();
`;

/** A copy of the sources of the packages in which building disturbs nobody. The installed packages are linked. */
function copySources(folder: string): void {
  for (const file of ['package.json', 'tsconfig.json', 'tsconfig.build.json', 'LICENSE']) cpSync(join(ROOT, file), join(folder, file));
  const left = (from: string): boolean => !/[/\\](node_modules|dist)$/.test(from);
  for (const name of PACKAGES) cpSync(join(ROOT, name), join(folder, name), { recursive: true, filter: left });
  linkModules(folder, (name) => join(folder, name));
}

/** Fills `folder/node_modules`: our own packages come from `place`, the others are those of the project. */
function linkModules(folder: string, place: (name: string) => string): void {
  const modules = join(folder, 'node_modules');
  mkdirSync(join(modules, '@workflow-orchestrator'), { recursive: true });
  for (const name of readdirSync(join(ROOT, 'node_modules'))) {
    if (!name.startsWith('.') && name !== '@workflow-orchestrator') symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
  }
  for (const name of PACKAGES) {
    const target = join(modules, manifestOf(name).name);
    if (place(name) !== target) symlinkSync(place(name), target);
    const nested = join(ROOT, name, 'node_modules');
    if (existsSync(nested))
      for (const dependency of readdirSync(nested)) linkOnce(join(nested, dependency), join(place(name), 'node_modules', dependency));
  }
}

function linkOnce(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  if (!existsSync(to)) symlinkSync(from, to);
}

function manifestOf(folder: string): Manifest {
  return JSON.parse(readFileSync(join(ROOT, folder, 'package.json'), 'utf8')) as Manifest;
}

/** A Node of the oldest version that the packages promise, when this machine has one outside of the project; else the one that runs this. */
async function oldestNode(): Promise<string> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const node = join(folder, 'node');
    if (folder.includes('node_modules') || !existsSync(node)) continue;
    const version = await run(node, ['--version']).then(
      ({ stdout }) => stdout,
      () => '',
    );
    if (version.startsWith('v20.')) return node;
  }
  return process.execPath;
}

/** Builds and packs everything below `folder`, and gives back a folder in which the packages are installed from those archives. */
async function install(folder: string): Promise<string> {
  const sources = join(folder, 'sources');
  const archives = join(folder, 'archives');
  const user = join(folder, 'user');
  mkdirSync(sources);
  mkdirSync(archives);
  copySources(sources);
  for (const name of PACKAGES) {
    await run('npm', ['run', '--silent', 'build'], {
      cwd: join(sources, name),
      env: { ...process.env, PATH: `${BIN}${delimiter}${process.env.PATH}` },
    });
    await run('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', archives], { cwd: join(sources, name) });
    const manifest = manifestOf(name);
    const archive = join(archives, `${manifest.name.replace('@', '').replace('/', '-')}-${manifest.version}.tgz`);
    const place = join(user, 'node_modules', manifest.name);
    mkdirSync(place, { recursive: true });
    await run('tar', ['-xzf', archive, '--strip-components=1', '-C', place]);
  }
  linkModules(user, (name) => join(user, 'node_modules', manifestOf(name).name));
  writeFileSync(join(user, 'package.json'), JSON.stringify({ name: 'user', type: 'module' }));
  return user;
}

t.setTimeout(110_000);

t.test('published packages', async (t) => {
  const user = await install(t.testdir());
  const node = await oldestNode();
  const installed = (name: string): string => join(user, 'node_modules', manifestOf(name).name);

  await t.test('hold what was built and nothing else', async (t) => {
    for (const name of PACKAGES) {
      const files = readdirSync(installed(name), { recursive: true, encoding: 'utf8' }).filter((file) => !file.startsWith('node_modules'));
      t.ok(files.includes('dist/LICENSE'), `${name} comes with its license`);
      const sources = files.filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'));
      t.same(sources, [], `${name} holds no sources`);
      const tests = files.filter((file) => /\.test\.|fixture/.test(file));
      t.same(tests, [], `${name} holds no tests`);
    }
    t.ok(existsSync(join(installed('proto'), 'workflow/v1/workflow.proto')), 'the contracts themselves are there for other languages');
  });

  await t.test('load with every entry point they name', async (t) => {
    for (const name of PACKAGES) {
      const manifest = manifestOf(name);
      for (const entry of Object.keys(manifest.exports)) {
        const specifier = `${manifest.name}${entry.slice(1)}`;
        if (PROGRAMS.has(specifier)) continue;
        const script = `console.log(Object.keys(await import('${specifier}')).length)`;
        const { stdout } = await run(NEWER.has(specifier) ? process.execPath : node, ['--input-type=module', '-e', script], { cwd: user });
        t.ok(Number(stdout) > 0, `${specifier} exports something`);
      }
    }
  });

  await t.test('carry their types, and the programs in the pages fit them', async (t) => {
    const specifiers = PACKAGES.flatMap((name) =>
      Object.keys(manifestOf(name).exports).map((entry) => `${manifestOf(name).name}${entry.slice(1)}`),
    );
    const programs = snippets();
    t.ok(programs.length > PAGES.length);
    for (const { file, text } of programs) writeFileSync(join(user, file), text);
    writeFileSync(join(user, 'all.ts'), specifiers.map((specifier, index) => `export * as p${index} from '${specifier}';\n`).join(''));
    const compilerOptions = {
      noEmit: true,
      strict: true,
      skipLibCheck: true,
      module: 'nodenext',
      target: 'es2022',
      lib: ['es2023', 'dom'],
      types: ['node'],
    };
    writeFileSync(join(user, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['all.ts', ...programs.map(({ file }) => file)] }));
    const says = await run(join(BIN, 'tsc'), ['-p', user], { cwd: user }).then(
      () => '',
      ({ stdout }: { stdout: string }) => stdout,
    );
    t.equal(says, '', 'tsc has nothing to say');
  });

  await t.test('bring their commands', async (t) => {
    for (const name of PACKAGES) {
      for (const [command, file] of Object.entries(manifestOf(name).bin ?? {})) {
        const { stdout } = await run(NEWER.has(command) ? process.execPath : node, [join(installed(name), file), '--version'], {
          cwd: user,
        });
        t.match(stdout, manifestOf(name).version, `${command} --version`);
      }
    }
  });

  await t.test('compute in processes of their own', async (t) => {
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', COMPUTE], { cwd: user });
    t.equal(stdout, '7\n');
  });
});
