/**
 * A process that commits one batch after the other into an embedded store, and says each number once it was acknowledged, until it is killed.
 *
 *     node --conditions=workflow-orchestrator committing-process.ts <data folder>
 *
 * Every seventh batch comes with a slice of a checkpoint and rows of the archive, so that a kill meets all of them.
 */
import { openEmbeddedStore } from '../../../coordinator/store/embedded/embedded.ts';
import { fold } from '../../engine-support/snapshots.ts';
import { definitionOf, eventsOfEachKind } from '../../store-contract/events.ts';

const log = { info: () => {}, warn: () => {} };
const store = await openEmbeddedStore({ dataDir: process.argv[2], log }).catch((error: Error) => {
  process.stdout.write(`refused: ${error.message}\n`);
  process.exit(3);
});
const { stored, graph } = definitionOf('blue');
await store.putDefinition(stored);
const acquisition = await store.acquire();
if (acquisition.kind !== 'acquired') throw new Error(acquisition.kind);
const { ownership } = acquisition;
process.stdout.write('open\n');
for (let seq = ownership.lastSeq + 1; ; seq += 2) {
  const events = [{ kind: 'paused', at: seq } as const, { kind: 'resumed', at: seq } as const];
  const outcome = await store.commit(ownership, {
    firstSeq: seq,
    lastSeq: seq + 1,
    entries: [{ workflowId: `wf-${seq}`, firstEventSeq: 1, events }],
  });
  if (outcome.kind !== 'durable') throw new Error(JSON.stringify(outcome));
  process.stdout.write(`${seq + 1}\n`);
  if (seq % 7 === 0) {
    const [submitted] = eventsOfEachKind(graph, `wf-${seq}`);
    void store.checkpoint(ownership, { entries: [{ workflowId: `wf-${seq}`, firstEventSeq: 1, events }], finish: null });
    void store.archive.write([{ state: fold([submitted]), events: [submitted] }]);
  }
}
