/**
 * The rules that a machine can hold: who imports whom, what is pure, how a file looks. Each is also shown to find what it is for.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { checkFloors } from '../repo/floors.ts';
import { checkPurity, PURE } from '../repo/purity.ts';
import { allSources, projectFiles, ROOT, readSource, sayViolation, type Violation } from '../repo/source.ts';
import { checkName, checkStyle, checkWords } from '../repo/style.ts';

const sources = allSources();
const shipped = sources.filter(({ path }) => !path.startsWith('test/'));

t.test('imports point down', async (t) => {
  t.same(shipped.flatMap(checkFloors).map(sayViolation), []);
});

t.test('what is pure stays pure', async (t) => {
  t.same(shipped.flatMap(checkPurity).map(sayViolation), []);
});

t.test('every pure place exists', async (t) => {
  for (const { place } of PURE)
    t.ok(
      shipped.some(({ path }) => path.startsWith(place)),
      place,
    );
});

t.test('files look as they should', async (t) => {
  t.same(sources.flatMap(checkStyle).map(sayViolation), []);
});

t.test('no file holds marks of unfinished work, paths of a machine or the address of a registry', async (t) => {
  const found: Violation[] = [];
  for (const path of projectFiles('**/{*,.*}').concat(projectFiles('.ci/*'))) {
    if (/\.(png|svg|ico|woff2)$/.test(path)) continue;
    const text = readFileSync(join(ROOT, path), 'utf8');
    if (!path.endsWith('.ts') && !generated(path)) found.push(...checkWords(path, text));
    text.split('\n').forEach((line, index) => {
      const place = /(?<![\w./:-])\/(?:home|root|Users|work)\/[\w.-]+/.exec(line)?.[0];
      if (place !== undefined) found.push({ path, line: index + 1, rule: `'${place}' is a path of one machine` });
      const registry = /https?:\/\/[\w.:-]*(?:npmjs\.org|yarnpkg\.com|\bregistry\b)[^\s'"]*/.exec(line)?.[0];
      if (registry !== undefined) found.push({ path, line: index + 1, rule: `'${registry}' is the address of a registry` });
    });
  }
  t.same(found.map(sayViolation), []);
});

t.test('the lock file names no place to install from', async (t) => {
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { resolved?: string; link?: boolean }>;
  };
  const places = Object.entries(lock.packages).filter(([, entry]) => entry.resolved !== undefined && entry.link !== true);
  t.same(
    places.map(([name, { resolved }]) => `${name}: ${resolved}`),
    [],
  );
});

t.test('packages are pinned to exact versions', async (t) => {
  for (const path of projectFiles('**/package.json')) {
    const manifest = JSON.parse(readFileSync(join(ROOT, path), 'utf8')) as Record<string, Record<string, string> | undefined>;
    for (const kind of ['dependencies', 'devDependencies', 'optionalDependencies']) {
      const loose = Object.entries(manifest[kind] ?? {}).filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version));
      t.same(loose, [], `${path} ${kind}`);
    }
  }
});

/** Texts that break exactly one rule, and the words of the message that must come. */
const PLANTED: readonly { check: (path: string, text: string) => Violation[]; path: string; text: string; line: number; says: string }[] = [
  floor('proto/limits.ts', "import { x } from 'node:fs';", 'may not import node:fs'),
  floor(
    'coordinator/engine/machine/decide.ts',
    "\nimport type { X } from '../definition/compile.ts';",
    'may not import coordinator/engine/definition/compile.ts',
    2,
  ),
  floor('coordinator/engine/machine/decide.ts', "export type { X } from '../../gateway/port.ts';", 'of another package by its path'),
  floor('coordinator/engine/definition/a.ts', "import { z } from 'zod';", 'may not import zod'),
  floor('coordinator/store/memory/a.ts', "import type { X } from '../../shard/ports.ts';", 'may not import coordinator/shard/ports.ts'),
  floor('coordinator/shard/a.ts', "import type { X } from '../api/context.ts';", 'may not import coordinator/api/context.ts'),
  floor('coordinator/shard/a.ts', "type X = import('../api/context.ts').Context;", 'may not import coordinator/api/context.ts'),
  floor('coordinator/api/a.ts', "import { WebSocketServer } from 'left-pad';", 'does not declare'),
  floor('sdk/cli/dev.ts', "const a = 1;\nawait import('../../coordinator/main.ts');", 'of another package by its path', 2),
  floor('sdk/cli/dev.ts', "import '@workflow-orchestrator/coordinator/main';", 'does not declare'),
  floor('worker/a.ts', "import { x } from '@workflow-orchestrator/sdk/client';", 'which no package'),
  floor('sdk/client/a.ts', "import { x } from '../cli/main.ts';", 'may not import sdk/cli/main.ts'),
  floor('worker/a.ts', "import { x } from '@workflow-orchestrator/engine/machine';", 'does not declare'),
  floor('worker/a.ts', "import { x } from './b';", 'without its ending'),
  floor('examples/a.ts', "import { x } from '@workflow-orchestrator/proto';", 'does not declare'),
  floor('tools/a.ts', '', 'stands on no floor'),
  pure('const a = Date.now();', 'Date.now reads a clock'),
  pure('\nconst a = new Date();', 'Date() reads a clock', 2),
  pure('const a = Math.random();', 'Math.random draws by chance'),
  pure('const a: number = setTimeout(() => {}, 1);', 'setTimeout waits'),
  pure('const a = process.env.A;', 'process touches the world'),
  pure('console.log(1);', 'console touches the world'),
  pure('async function f(): Promise<void> {}', 'answers at once'),
  pure("import { randomUUID } from 'node:crypto';", 'only createHash', 1, 'coordinator/engine/definition/a.ts'),
  pure("import { readFileSync } from 'node:fs';", 'imports node:fs', 1, 'worker/session/a.ts'),
  style('a.ts', 'export const a = 1;\n', 'does not open with a comment'),
  style('a.ts', `/** A. */\n${'\n'.repeat(400)}`, '401 lines', 401),
  style('a.ts', `/** A. */\nfunction f() {${'\n'.repeat(90)}}\n`, 'a function of 91 lines', 2),
  style('a.ts', `/** A. */\n// ${'TO' + 'DO'}: later\n`, 'finish it', 2),
  { check: checkName, path: 'worker/utils/a.ts', text: '', line: 1, says: "'utils' says nothing" },
  { check: checkName, path: 'worker/jobType.ts', text: '', line: 1, says: 'is not in small letters' },
];

t.test('each rule finds what it is for, with file and line', async (t) => {
  for (const { check, path, text, line, says } of PLANTED) {
    const found = check(path, text);
    t.equal(found.length, 1, `${says}: one violation, not ${found.map(sayViolation).join('; ')}`);
    t.equal(found[0]?.path, path, says);
    t.equal(found[0]?.line, line, says);
    t.ok(found[0]?.rule.includes(says), says, { found: found[0]?.rule });
  }
});

t.test('rules leave alone what only looks like a violation', async (t) => {
  const fine = `/** Fine. */
import type { Graph } from '../definition/graph.ts';
export type Process = { readonly process: string; setTimeout(): void };
// Date.now() in a comment, import('node:fs') too
export const say = (process: Process, at: number): string => \`\${process.process} Date.now() \${new Date(at).toISOString()}\`;
export function closure(graph: Graph): () => string {
  return () => {${'\n'.repeat(60)}
    const inner = () => {${'\n'.repeat(60)} return graph.name; };
    return inner();
  };
}
`;
  const source = readSource('coordinator/engine/machine/fine.ts', fine);
  t.same([...checkFloors(source), ...checkPurity(source), ...checkStyle(source)].map(sayViolation), []);
  t.same(
    source.imports.map(({ specifier, line }) => [specifier, line]),
    [['../definition/graph.ts', 2]],
  );
});

function floor(path: string, text: string, says: string, line = 1): (typeof PLANTED)[number] {
  return { check: (path, text) => checkFloors(readSource(path, text)), path, text, line, says };
}

function pure(text: string, says: string, line = 1, path = 'coordinator/engine/machine/a.ts'): (typeof PLANTED)[number] {
  return { check: (path, text) => checkPurity(readSource(path, text)), path, text, line, says };
}

function style(path: string, text: string, says: string, line = 1): (typeof PLANTED)[number] {
  return { check: (path, text) => checkStyle(readSource(path, text)), path, text, line, says };
}

/** Files that are written by tools or by others. */
function generated(path: string): boolean {
  return path.startsWith('proto/gen/') || path.startsWith('proto/vendor/') || path === 'package-lock.json' || path === 'LICENSE';
}
