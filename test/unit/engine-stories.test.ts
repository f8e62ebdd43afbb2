/**
 * The stories in test/fixtures/stories: commands to the engine and what it says, word for word. Every step also passes `CheckedRun`.
 * `UPDATE=1 node --conditions=workflow-orchestrator test/unit/engine-stories.test.ts` writes what the engine says now; read the difference before it is kept.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { play } from '../engine-support/story.ts';

const folder = join(import.meta.dirname, '..', 'fixtures', 'stories');
const update = process.env.UPDATE === '1';

for (const name of readdirSync(folder).sort()) {
  t.test(name, async (t) => {
    const file = join(folder, name);
    const written = readFileSync(file, 'utf8');
    const told = play(written);
    if (update && told !== written) writeFileSync(file, told);
    t.equal(told, update ? told : written, 'the engine does what the story says');
  });
}
