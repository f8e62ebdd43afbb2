/**
 * Bugs that the simulator must find: each is planted alone, by replacing a text of the source as it is read, and must be caught at its known seed and by
 * its plans.
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
  /** A seed that catches it, or from which on one is near; null where they are too rare to look for. */
  readonly seed: number | null;
  /** The invariant that is seen broken then. */
  readonly caughtBy: string;
  /** Plans in `regressions/` that catch it: so it is known that they still can. */
  readonly plans?: readonly string[];
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
    caughtBy: 'I1',
  },
  {
    name: 'unknown outcome taken as success',
    file: `${shard}/commit-loop.ts`,
    from: 'return this.#findOut(batch, journalBatch);',
    to: 'return this.#durable(batch, journalBatch.lastSeq);',
    seed: 6,
    caughtBy: 'I2',
  },
  {
    name: 'stale attempt accepted',
    file: `${machine}/attempt.ts`,
    from: 'lease === null || lease.token !== command.token',
    to: 'lease === null',
    seed: 147,
    caughtBy: 'I2',
  },
  {
    name: 'attempt counter reset on takeover',
    file: `${shard}/core.ts`,
    from: 'recovered(state, this.#backBy)',
    to: 'recovered({ ...state, jobs: state.jobs.map((job) => ({ ...job, attempts: [] })) }, this.#backBy)',
    seed: 21,
    caughtBy: 'I4',
  },
  {
    name: 'timers not re-armed on recovery',
    file: `${shard}/core.ts`,
    from: 'this.#wake(record, nextWake(record.state));\n    return record;',
    to: 'return record;',
    seed: 232,
    caughtBy: 'I5',
  },
  {
    name: 'idempotency keys only in memory',
    file: `${shard}/key-desk.ts`,
    from: 'if (unknown.length === 0) return NONE;',
    to: 'if (unknown.length >= 0) return NONE;',
    seed: 8,
    caughtBy: 'I7',
  },
  {
    name: 'no resend after a lost ack',
    file: 'worker/session/from-coordinator.ts',
    from: 'session.unsent.add(token);',
    to: '',
    seed: 14,
    caughtBy: 'I19',
  },
  {
    name: 'fence without last_seq',
    file: 'test/sim/store.ts',
    from: '!isOwner || shard.lastSeq !== batch.firstSeq - 1',
    to: '!isOwner',
    seed: 66,
    caughtBy: 'fatal',
  },
  {
    name: 'term per process instead of per acquisition',
    file: 'test/sim/coordinator.ts',
    from: 'newTerm: () => `${process}-${random.below(2 ** 30).toString(36)}`',
    to: 'newTerm: () => process',
    seed: 153,
    caughtBy: 'I5',
  },
  {
    name: 'renewal that ignores last_seq',
    file: 'test/sim/store.ts',
    from: 'if (shard.lastSeq < lastSeq) return',
    to: 'if (false) return',
    seed: 1150,
    caughtBy: 'I8',
  },
  {
    name: '`some` for `every` in a join',
    file: `${machine}/join.ts`,
    from: 'causes.every((cause)',
    to: 'causes.some((cause)',
    seed: 417,
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
    seed: 565,
    caughtBy: 'I5',
    plans: ['checkpoint-ahead-of-its-table'],
  },
  {
    name: 'a checkpoint finished before the archive had everything',
    file: `${shard}/checkpointer.ts`,
    from: 'await archived;',
    to: '',
    seed: 64,
    caughtBy: 'I16',
  },
  {
    name: 'a slice that was perhaps kept is not dropped',
    file: `${shard}/checkpointer.ts`,
    from: 'if (record.checkpointed !== 0) this.#ended',
    to: 'if (record.checkpointed > 0) this.#ended',
    seed: 33,
    caughtBy: 'I0',
    plans: ['slice-perhaps-kept'],
  },
  {
    name: 'a slice that is answered after a reclaim counts as kept',
    file: `${shard}/checkpointer.ts`,
    from: "return kind === 'kept' && ownership().termId === termId;",
    to: "return kind === 'kept';",
    seed: 3116064,
    caughtBy: 'I0',
    plans: ['slice-answered-after-a-reclaim'],
  },
  {
    name: 'a row of the checkpoint resurrected by a late statement',
    file: 'test/sim/store.ts',
    from: 'slice < database.slice || ',
    to: '',
    seed: 5283,
    caughtBy: 'I0',
  },
  {
    name: 'a store that forgets which slices it kept',
    file: 'coordinator/store/known.ts',
    from: 'if (termId === this.#termId) this.#slice = Math.max(this.#slice, this.sliceOf(number));',
    to: '',
    seed: 1483,
    caughtBy: 'I0',
    plans: ['copy-without-the-last-slice'],
  },
  {
    name: 'a store that forgets what it committed',
    file: 'coordinator/store/known.ts',
    from: 'if (termId === this.#termId) this.#seq = Math.max(this.#seq, seq);',
    to: '',
    seed: 1150,
    caughtBy: 'I0',
  },
  {
    name: 'an archive that anybody writes',
    file: 'test/sim/store.ts',
    from: 'if (database.shard.termId !== termId || database.shard.lastSeq < seq) return false;',
    to: '',
    seed: 1150,
    caughtBy: 'I0',
    plans: ['archive-row-of-a-lost-history', 'archive-row-of-lost-events'],
  },
  {
    name: 'an offer that never left is lost with its worker',
    file: `${shard}/worker-desk.ts`,
    from: 'else if (place.isSent)',
    to: 'else if (place.type)',
    seed: null,
    caughtBy: 'I4',
    plans: ['offer-that-never-left'],
  },
  {
    name: 'effects told past the lease',
    file: `${shard}/commit-loop.ts`,
    from: '!this.#isOver && this.#ports.mayTell()',
    to: '!this.#isOver',
    seed: 33,
    caughtBy: 'I6',
  },
  {
    name: 'a workflow forgotten before it is archived',
    file: `${shard}/workflow-table.ts`,
    from: 'this.#unarchived += 1;\n    else this.#mayGo(record);',
    to: 'this.#unarchived += 1;\n    this.#mayGo(record);',
    seed: 27,
    caughtBy: 'I16',
  },
  {
    name: 'a list that takes ids for sorted',
    file: `${shard}/workflow-table.ts`,
    from: 'const place = this.#place(state.id);\n    this.#ids',
    to: 'const place = this.#ids.length;\n    this.#ids',
    seed: 268,
    caughtBy: 'I16',
    plans: ['list-out-of-order'],
  },
  {
    name: 'a lost shard is called damaged',
    file: `${shard}/shard.ts`,
    from: 'throw await readFailure(options.store, options.ownership, error);',
    to: 'throw error;',
    seed: 2049,
    caughtBy: 'fatal',
    plans: ['lost-shard-is-not-damaged'],
  },
  {
    name: 'a stale result acknowledged as accepted',
    file: `${shard}/worker-desk.ts`,
    from: 'stale: ResultAck_Verdict.STALE',
    to: 'stale: ResultAck_Verdict.ACCEPTED',
    seed: 138,
    caughtBy: 'I2',
  },
  {
    name: 'an archive that is not caught up after a recovery',
    file: `${shard}/followers.ts`,
    from: 'if (hasEnded(state.status) || ',
    to: 'if (!hasEnded(state.status) && ',
    seed: 1,
    caughtBy: 'I19',
  },
  {
    name: 'replies before the commit',
    file: `${shard}/shard.ts`,
    from: 'this.#core.commits.after(() => call.answer(reply));',
    to: 'call.answer(reply);',
    seed: 1,
    caughtBy: 'I1',
  },
  {
    name: 'a watch that resumes one event too late',
    file: `${shard}/shard.ts`,
    from: 'let seq = afterSeq + 1; seq <= record.events.length',
    to: 'let seq = afterSeq + 2; seq <= record.events.length',
    seed: 2,
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
  {
    name: 'a writer that loses when the next attempt is',
    file: 'coordinator/store/entry-writer.ts',
    from: 'wire.number(4, event.nextAttemptAt);',
    to: '',
    seed: 5,
    caughtBy: 'I0',
  },
  {
    name: 'a commit that was refused for good is sent for ever',
    file: `${shard}/commit-loop.ts`,
    from: 'if (!outcome.isTransient) return this.#lose(`commit: ${outcome.message}`);',
    to: '',
    seed: 216,
    caughtBy: 'I19',
  },
];
