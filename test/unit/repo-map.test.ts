/**
 * The code map of README.md: every folder it names is there, and every folder that holds a part of the system is named.
 * Its example is the file that the quick start runs.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { FLOORS } from '../repo/floors.ts';
import { projectFiles, ROOT } from '../repo/source.ts';

/** The section under the heading of the map; null when there is none. */
function mapSection(readme: string): string | null {
  return /^## (?:The code|Code map)\n([\s\S]*?)(?=^## |$(?![\s\S]))/m.exec(readme)?.[1] ?? null;
}

/** The folders that a section names, as links or in backticks: `[sdk/](sdk/)`, `` `sdk/cli/` ``. */
function foldersOf(section: string): string[] {
  return [...section.matchAll(/(?:\]\(|`)((?:[\w.-]+\/)+)(?:\)|`)/g)].map((match) => (match[1] as string).replace(/\/$/, ''));
}

t.test('the map in README.md is the tree', async (t) => {
  const section = mapSection(readFileSync(join(ROOT, 'README.md'), 'utf8'));
  if (section === null) return t.fail("README.md has a section '## The code' that names the folders");
  const named = foldersOf(section);
  const exists = (folder: string): boolean => existsSync(join(ROOT, folder)) && statSync(join(ROOT, folder)).isDirectory();
  // A folder named in a row of the table may be told from the folder of that row: `definition/` of `coordinator/engine/`.
  for (const folder of named) t.ok(exists(folder) || named.some((parent) => exists(join(parent, folder))), `${folder}/ is there`);
  const folders = new Set(projectFiles('*/**/*').map((path) => path.split('/')[0] as string));
  for (const path of projectFiles('coordinator/*/**/*')) folders.add(path.split('/').slice(0, 2).join('/'));
  folders.delete('.ci');
  folders.delete('coordinator');
  for (const folder of folders) t.ok(named.includes(folder), `${folder}/ is in the map`);
});

t.test('the example in README.md is the file that the quick start runs', async (t) => {
  const block = /```yaml\n(workflow:[\s\S]*?)```/.exec(readFileSync(join(ROOT, 'README.md'), 'utf8'))?.[1] ?? '';
  const file = readFileSync(join(ROOT, 'examples/workflow_definitions/data-pipeline.yaml'), 'utf8');
  const trimmed = (text: string): string => text.replace(/[ \t]+$/gm, '').trim();
  t.equal(trimmed(block), trimmed(file));
});

t.test('test/README.md tells of every folder of the tests', async (t) => {
  const table = readFileSync(join(ROOT, 'test/README.md'), 'utf8').split(/^## /m)[0] as string;
  const folders = new Set(projectFiles('test/*/**/*').map((path) => path.split('/')[1] as string));
  for (const folder of folders) t.ok(table.includes(`\`${folder.replace(/^.*-support$/, '*-support')}/\``), `test/${folder}/`);
});

t.test('the table of floors in ARCHITECTURE.md is the one that is held', async (t) => {
  const rows = [...readFileSync(join(ROOT, 'ARCHITECTURE.md'), 'utf8').matchAll(/^\| `([\w/-]+)` \|[^|]*\|([^|]*)\|$/gm)];
  const told = rows.map(([, folder, imports = '']) => ({
    folder,
    imports: [...imports.matchAll(/`([^`]+)`/g)].map(([, name]) => name).sort(),
  }));
  const byFolder = (a: { folder?: string | undefined }, b: { folder?: string | undefined }) =>
    (a.folder ?? '').localeCompare(b.folder ?? '');
  t.same(told.sort(byFolder), FLOORS.map(({ folder, imports }) => ({ folder, imports: [...imports].sort() })).sort(byFolder));
});

t.test('the programs in QUICKSTART.md are the files of examples/greeter', async (t) => {
  const [, ...blocks] = readFileSync(join(ROOT, 'QUICKSTART.md'), 'utf8').split(/```(?:ts|yaml)\n/);
  const shown = blocks.map((block) => block.slice(0, block.indexOf('```')));
  for (const file of ['worker.ts', 'client.ts', 'greeting.yaml']) {
    const text = readFileSync(join(ROOT, 'examples/greeter', file), 'utf8').replace(/^(?:\/\*\*.*\*\/|#.*)\n/, '');
    t.ok(shown.includes(text), `${file} is shown as it is`);
  }
});

t.test('files that the documents link to are there', async (t) => {
  for (const document of projectFiles('**/*.md')) {
    const folder = join(ROOT, document, '..');
    for (const [, target] of readFileSync(join(ROOT, document), 'utf8').matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
      if (!/^[a-z]+:/.test(target as string)) t.ok(existsSync(join(folder, target as string)), `${document} links to ${target}`);
    }
  }
});

t.test('a map is read as folders', async (t) => {
  const section = '\n| [sdk/](sdk/) | `sdk/cli/` is `wf` |\n';
  t.same(foldersOf(section), ['sdk', 'sdk/cli']);
  t.equal(mapSection(`# A\n\n## The code\n${section}\n## More\n`), `${section}\n`);
});
