/**
 * A process that commits one batch after the other into an embedded store, and says each number once it was acknowledged, until it is killed.
 *
 *     node --conditions=workflow-orchestrator committing-process.ts <data folder>
 *
 * Every seventh batch comes with a slice of a checkpoint and rows of the archive, so that a kill meets all of them.
 */
import { compile } from '@workflow-orchestrator/engine/definition';
import { openEmbeddedStore } from '../../../coordinator/store/embedded/embedded.ts';
import { fold } from '../../engine-support/snapshots.ts';

const log = { info: () => {}, warn: () => {} };
const store = await openEmbeddedStore({ dataDir: process.argv[2], log }).catch((error: Error) => {
  process.stdout.write(`refused: ${error.message}\n`);
  process.exit(3);
});
const yaml = 'workflow: { name: blue, jobs: [{ id: a, type: work }] }';
const compiled = compile(yaml);
if (compiled.kind === 'bad') throw new Error(compiled.problems[0].message);
const { graph } = compiled;
const inputs = { encoding: 'json', data: new TextEncoder().encode('{}') };
await store.putDefinition({ hash: graph.hash, name: 'blue', yaml, registeredAt: 1 });
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
    const submitted = {
      kind: 'submitted',
      at: seq,
      workflowId: `wf-${seq}`,
      graph,
      inputs,
      labels: {},
      idempotencyKey: '',
      requestHash: '',
    } as const;
    void store.checkpoint(ownership, { number: 1, entries: [{ workflowId: `wf-${seq}`, firstEventSeq: 1, events }], finish: null });
    void store.archive.write([{ state: fold([submitted]), events: [submitted] }]);
  }
}
