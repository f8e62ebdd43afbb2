/**
 * Bugs that the simulator must find: each is planted alone, by replacing a text of the source as it is read, and must be caught at its known seed.
 * `npm run sim -- --mutants` looks for the seeds anew: after a change of `plan.ts`, or of anything that moves chance.
 */

import { mutantsOfWork } from './mutants-of-work.ts';

/** A planted bug. */
export interface Mutant {
  readonly name: string;
  /** How the path of the file ends. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
  /** A seed that catches it, or from which on one is near. */
  readonly seed: number;
  /** The invariant that is seen broken then. */
  readonly caughtBy: string;
}

const shard = 'coordinator/shard';
const machine = 'coordinator/engine/machine';

export const mutants: readonly Mutant[] = [
  ...mutantsOfWork,
  {
    name: 'ack before commit',
    file: `${shard}/commit-loop.ts`,
    from: 'this.#ports.onBatch(batch.events);',
    to: 'this.#ports.onBatch(batch.events); this.#settle({ ...batch, effects: batch.effects.splice(0) }); this.#tell();',
    seed: 1,
    caughtBy: 'I3',
  },
  {
    name: 'unknown outcome taken as success',
    file: `${shard}/commit-loop.ts`,
    from: 'return this.#findOut(batch, journalBatch);',
    to: 'return this.#durable(batch, journalBatch.lastSeq);',
    seed: 15,
    caughtBy: 'I1',
  },
  {
    name: 'stale attempt accepted',
    file: `${machine}/attempt.ts`,
    from: 'lease === null || lease.token !== command.token',
    to: 'lease === null',
    seed: 40,
    caughtBy: 'I2',
  },
  {
    name: 'attempt counter reset on takeover',
    file: `${shard}/core.ts`,
    from: 'recovered(state, this.#backBy)',
    to: 'recovered({ ...state, jobs: state.jobs.map((job) => ({ ...job, attempts: [] })) }, this.#backBy)',
    seed: 24,
    caughtBy: 'I4',
  },
  {
    name: 'timers not re-armed on recovery',
    file: `${shard}/core.ts`,
    from: 'this.#wake(record, nextWake(record.state));\n    return record;',
    to: 'return record;',
    seed: 134,
    caughtBy: 'I5',
  },
  {
    name: 'idempotency keys only in memory',
    file: `${shard}/key-desk.ts`,
    from: 'if (unknown.length === 0) return NONE;',
    to: 'if (unknown.length >= 0) return NONE;',
    seed: 3,
    caughtBy: 'I7',
  },
  {
    name: 'no resend after a lost ack',
    file: 'worker/session/from-coordinator.ts',
    from: 'session.unsent.add(token);',
    to: '',
    seed: 11,
    caughtBy: 'I19',
  },
  {
    name: 'fence without last_seq',
    file: 'test/sim/store.ts',
    from: '!isOwner || shard.lastSeq !== batch.firstSeq - 1',
    to: '!isOwner',
    seed: 212,
    caughtBy: 'fatal',
  },
  {
    name: 'term per process instead of per acquisition',
    file: 'test/sim/coordinator.ts',
    from: 'newTerm: () => `${process}-${random.below(2 ** 30).toString(36)}`',
    to: 'newTerm: () => process',
    seed: 1243,
    caughtBy: 'I6',
  },
  {
    name: 'renewal that ignores last_seq',
    file: 'test/sim/store.ts',
    from: 'if (shard.lastSeq < lastSeq) return',
    to: 'if (false) return',
    seed: 12902,
    caughtBy: 'I8',
  },
  {
    name: '`some` for `every` in a join',
    file: `${machine}/join.ts`,
    from: 'causes.every((cause)',
    to: 'causes.some((cause)',
    seed: 6617,
    caughtBy: 'I12',
  },
  {
    name: 'a join decided before all is resolved',
    file: `${machine}/join.ts`,
    from: 'if (!runAtFirst) return WAIT;',
    to: 'if (!runAtFirst && !taken) return WAIT;',
    seed: 5,
    caughtBy: 'I3',
  },
  {
    name: 'a checkpoint that ends ahead of its table',
    file: `${shard}/shard.ts`,
    from: 'toldSeq: () => commits.toldSeq',
    to: 'toldSeq: () => commits.committedSeq',
    seed: 1562,
    caughtBy: 'I0',
  },
  {
    name: 'a checkpoint finished before the archive had everything',
    file: `${shard}/checkpointer.ts`,
    from: 'await archived;',
    to: '',
    seed: 43,
    caughtBy: 'I1',
  },
  {
    name: 'a slice that was perhaps kept is not dropped',
    file: `${shard}/checkpointer.ts`,
    from: 'if (record.checkpointed !== 0) this.#ended',
    to: 'if (record.checkpointed > 0) this.#ended',
    seed: 140,
    caughtBy: 'I0',
  },
  {
    name: 'a slice that is answered after a reclaim counts as kept',
    file: `${shard}/checkpointer.ts`,
    from: "return kind === 'kept' && ownership().termId === termId;",
    to: "return kind === 'kept';",
    seed: 531157,
    caughtBy: 'I5',
  },
  {
    name: 'a row of the checkpoint resurrected by a late statement',
    file: 'test/sim/store.ts',
    from: 'slice < database.slice || ',
    to: '',
    seed: 252,
    caughtBy: 'I0',
  },
  {
    name: 'a store that forgets which slices it kept',
    file: 'coordinator/store/known.ts',
    from: 'if (termId === this.#termId) this.#slice = Math.max(this.#slice, this.sliceOf(number));',
    to: '',
    seed: 204829,
    caughtBy: 'I0',
  },
  {
    name: 'a store that forgets what it committed',
    file: 'coordinator/store/known.ts',
    from: 'if (termId === this.#termId) this.#seq = Math.max(this.#seq, seq);',
    to: '',
    seed: 2515414,
    caughtBy: 'I0',
  },
  {
    name: 'a store that takes a late answer of an earlier term for its own',
    file: 'coordinator/store/known.ts',
    from: 'if (before !== this.#termId) return;',
    to: '',
    seed: 41325,
    caughtBy: 'I19',
  },
  {
    name: 'an archive that anybody writes',
    file: 'test/sim/store.ts',
    from: 'if (database.shard.termId !== termId || database.shard.lastSeq < seq) return false;',
    to: '',
    seed: 101796,
    caughtBy: 'I0',
  },
  {
    name: 'an offer that never left is lost with its worker',
    file: `${shard}/worker-desk.ts`,
    from: 'else if (place.isSent)',
    to: 'else if (place.type)',
    seed: 103184,
    caughtBy: 'I4',
  },
  {
    name: 'effects told past the lease',
    file: `${shard}/commit-loop.ts`,
    from: '!this.#isOver && this.#ports.mayTell()',
    to: '!this.#isOver',
    seed: 14,
    caughtBy: 'I6',
  },
  {
    name: 'a workflow forgotten before it is archived',
    file: `${shard}/workflow-table.ts`,
    from: '!oldest.isArchived || ',
    to: '',
    seed: 3,
    caughtBy: 'I16',
  },
  {
    name: 'a list that takes ids for sorted',
    file: `${shard}/workflow-table.ts`,
    from: 'const place = this.#place(state.id);\n    this.#ids',
    to: 'const place = this.#ids.length;\n    this.#ids',
    seed: 699,
    caughtBy: 'I16',
  },
  {
    name: 'a lost shard is called damaged',
    file: `${shard}/shard.ts`,
    from: 'throw await readFailure(options.store, options.ownership, error);',
    to: 'throw error;',
    seed: 1125,
    caughtBy: 'fatal',
  },
  {
    name: 'a stale result acknowledged as accepted',
    file: `${shard}/worker-desk.ts`,
    from: 'stale: ResultAck_Verdict.STALE',
    to: 'stale: ResultAck_Verdict.ACCEPTED',
    seed: 113,
    caughtBy: 'I2',
  },
  {
    name: 'an archive that is not caught up after a recovery',
    file: `${shard}/followers.ts`,
    from: 'if (hasEnded(state.status) || ',
    to: 'if (!hasEnded(state.status) && ',
    seed: 3,
    caughtBy: 'I19',
  },
  {
    name: 'replies before the commit',
    file: `${shard}/shard.ts`,
    from: 'this.#core.commits.after(() => resolve(reply));',
    to: 'resolve(reply);',
    seed: 1,
    caughtBy: 'I8',
  },
  {
    name: 'a watch that resumes one event too late',
    file: `${shard}/shard.ts`,
    from: 'let seq = afterSeq + 1; seq <= record.events.length',
    to: 'let seq = afterSeq + 2; seq <= record.events.length',
    seed: 3,
    caughtBy: 'I16',
  },
  {
    name: "a token of another epoch is nobody's",
    file: `${shard}/core.ts`,
    from: 'const token = `${this.#epoch}.${this.#assignments}.${this.#ports.nonce()}`;',
    to: 'const token = `${this.#assignments}`;',
    seed: 2,
    caughtBy: 'I4',
  },
];
