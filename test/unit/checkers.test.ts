/**
 * The test of the checkers: each takes a small history in which all is well, and finds what is wrong in one in which one thing is.
 */
import type { DurableEvent } from '@workflow-orchestrator/engine/machine';
import t from 'tap';
import { checkers } from '../checkers/checkers.ts';
import { Case, type CommittedBatch, type Evidence } from '../checkers/evidence.ts';
import { cancelReasonOf, type HistoryEvent, type HistoryValue, HistoryWriter, parseHistory, printHistory } from '../checkers/history.ts';
import { timersFireInTime } from '../checkers/invariants/timers.ts';
import { graphOf, json } from '../engine-support/graphs.ts';
import { fold } from '../engine-support/snapshots.ts';

const graph = graphOf('a.ok->b');
/** Its jobs run in one region only. */
const choosy = { ...graph, jobs: graph.jobs.map((job) => ({ ...job, requiredLabels: new Map([['region', 'eu']]) })) };
const attempt = (number: number, token: string) => ({ number, token, workerId: 'w1', startMs: 5 });
const error = { code: 'BROKEN', message: '', retryable: false, details: null, retryAfterMs: 0, stack: '' };

const submitted = (workflowId: string, idempotencyKey = 'k'): DurableEvent => {
  return { kind: 'submitted', at: 1, workflowId, graph, inputs: json({}), labels: {}, idempotencyKey, requestHash: 'h' };
};

const cancelled = (op: number): DurableEvent => ({ kind: 'cancelRequested', at: 19, reason: cancelReasonOf(op), force: false });

/** A workflow of two jobs that ends well, as its events. */
const story: readonly DurableEvent[] = [
  submitted('wf'),
  { kind: 'started', at: 1 },
  { kind: 'jobReady', at: 1, job: 0, parameters: null, inputJobs: [] },
  { kind: 'jobSucceeded', at: 9, job: 0, attempt: attempt(1, 't1'), output: json('a') },
  { kind: 'jobReady', at: 9, job: 1, parameters: null, inputJobs: [0] },
  { kind: 'jobSucceeded', at: 19, job: 1, attempt: attempt(1, 't2'), output: json('b') },
  { kind: 'ended', at: 19, status: 'SUCCEEDED', outputs: null, error: null, errorJob: null },
];

/** One batch for each of these numbers of events. */
function journalOf(events: readonly DurableEvent[], sizes: readonly number[] = [3, 2, events.length - 5]): CommittedBatch[] {
  let seq = 1;
  return sizes.map((size) => {
    const batch = {
      firstSeq: seq,
      lastSeq: seq + size - 1,
      epoch: 1,
      term: 'x',
      entries: [{ workflowId: 'wf', firstEventSeq: seq, events: events.slice(seq - 1, seq - 1 + size) }],
    };
    seq += size;
    return batch;
  });
}

type Line = readonly [f: string, type: HistoryEvent['type'], node: string, over?: Partial<HistoryEvent>];

function line([f, type, node, over]: Line, index: number): HistoryEvent {
  return { t_mono: index, t_wall: index, node, incarnation: 1, op: 0, f, type, epoch: 1, term: 'x', workflow: 'wf', ...over };
}

const commit = (seq: number): Line => ['commit', 'ok', 'db', { seq, value: { last: { wf: seq } } }];
const run = (op: number, job: string, type: HistoryEvent['type'], value: HistoryValue): Line => {
  return ['execute', type, 'w1', { op, job, attempt: 1, value: { slots: 1, ...value } }];
};

/** The same workflow, seen from outside. */
const lines: readonly Line[] = [
  ['own', 'ok', 'c1', { seq: 0 }],
  ['submit', 'invoke', 'client', { op: 1, value: { key: 'k', hash: 'h' } }],
  ['offer', 'invoke', 'c1', { op: 1 }],
  commit(3),
  ['assign', 'ok', 'c1', { job: 'a', attempt: 1, value: { token: 't1', worker: 'w1', tenure: 'x' } }],
  ['reply', 'ok', 'c1', { seq: 3 }],
  ['submit', 'ok', 'client', { op: 1, seq: 3, value: { key: 'k', hash: 'h' } }],
  run(2, 'a', 'invoke', { token: 't1', inputs: { '': '{}' }, parameters: '{}' }),
  run(2, 'a', 'ok', { token: 't1', outcome: 'succeeded', output: '"a"' }),
  commit(5),
  ['ack', 'ok', 'c1', { job: 'a', value: { token: 't1', answer: 'ACCEPTED' } }],
  ['assign', 'ok', 'c1', { job: 'b', attempt: 1, value: { token: 't2', worker: 'w1', tenure: 'x' } }],
  ['read', 'invoke', 'client', { op: 4 }],
  ['read', 'ok', 'client', { op: 4, seq: 5, value: { answer: 'found' } }],
  run(3, 'b', 'invoke', { token: 't2', inputs: { a: '"a"' }, parameters: '{}' }),
  run(3, 'b', 'ok', { token: 't2', outcome: 'succeeded', output: '"b"' }),
  commit(7),
  ['watch', 'invoke', 'client', { op: 5, value: { after: 5 } }],
  ['watched', 'ok', 'client', { op: 5, seq: 6, value: { kind: 'jobSucceeded' } }],
  ['watched', 'ok', 'client', { op: 5, seq: 7, value: { kind: 'ended' } }],
  ['watch', 'ok', 'client', { op: 5, value: { kind: 'ended' } }],
];

const digestOf = (events: readonly DurableEvent[]): string => JSON.stringify({ ...fold(events), graph: null });

const good: Evidence = {
  history: lines.map(line),
  journal: journalOf(story),
  isFaultless: true,
  isHealed: true,
  digests: new Map([['checkpoint and tail', new Map([['wf', digestOf(story)]])]]),
  digestOf,
  endings: new Map([
    ['there', 'x'],
    ['away', 'x'],
  ]),
  leftovers: { timers: 0 },
};

const told = (changed: readonly Line[]): Partial<Evidence> => ({ history: changed.map(line) });
const without = (...kinds: readonly string[]): readonly Line[] => lines.filter(([f]) => !kinds.includes(f));
/** The lines with one of them changed. */
const but = (place: number, over: Partial<HistoryEvent>, type?: HistoryEvent['type']): Partial<Evidence> => {
  return told(lines.map((each, index) => (index === place ? [each[0], type ?? each[1], each[2], { ...each[3], ...over }] : each)));
};
const wrote = (place: number, event: Partial<DurableEvent>): Partial<Evidence> => {
  return { journal: journalOf(story.map((each, index) => (index === place ? ({ ...each, ...event } as DurableEvent) : each))) };
};
const another = (events: readonly DurableEvent[], over: Partial<CommittedBatch> = {}): CommittedBatch => {
  const entries = [{ workflowId: 'wf2', firstEventSeq: 1, events }];
  return { firstSeq: 8, lastSeq: 7 + events.length, epoch: 1, term: 'x', entries, ...over };
};

/** What crosses the seam between sessions and shard, under the ownership `x` or another. */
const assigned = (job: string, token: string, value: HistoryValue = {}): Line => {
  return ['assign', 'ok', 'c1', { job, attempt: 1, value: { token, worker: 'w1', tenure: 'x', ...value } }];
};
const heard = (f: string, value: HistoryValue): Line => [f, 'ok', 'c1', { value: { worker: 'w1', session: 's1', tenure: 'x', ...value } }];
const joined = (value: HistoryValue): Line => [
  'join',
  'ok',
  'w1',
  { value: { slots: 2, capabilities: { work: 0 }, labels: {}, ...value } },
];
/** The first job was given away, and then the shard was taken over. */
const takenOver: readonly Line[] = [lines[0], commit(3), assigned('a', 't1'), ['own', 'ok', 'c2', { epoch: 2, term: 'y', seq: 3 }]];

/** What each must find: in words, and how the good run is spoiled. */
const bad: Readonly<Record<string, readonly (readonly [what: string, over: Partial<Evidence>])[]>> = {
  I0: [
    ['a gap', { journal: journalOf(story).filter((_, index) => index !== 1) }],
    ['an epoch that goes back', { journal: journalOf(story).map((batch, index) => ({ ...batch, epoch: 3 - index })) }],
    ['another state', { digests: new Map([['checkpoint and tail', new Map([['wf', digestOf(story.slice(0, 5))]])]]) }],
    ['a workflow that nobody reads', { digests: new Map([['checkpoint and tail', new Map()]]) }],
    [
      'one that ended and is not at rest',
      {
        digests: new Map([
          ['checkpoint and tail', new Map([['wf', digestOf(story)]])],
          ['archive', new Map()],
        ]),
      },
    ],
    [
      'one that is at rest and has not ended',
      {
        journal: journalOf(story).slice(0, 2),
        digests: new Map([
          ['checkpoint and tail', new Map()],
          ['archive', new Map([['wf', digestOf(story.slice(0, 5))]])],
        ]),
      },
    ],
    ['a reader that was shown another state', { digests: new Map([...good.digests, ['a reader', new Map([['wf', 'other']])]]) }],
    ['a workflow from nowhere', { digests: new Map([['archive', new Map([['wf9', '']])]]) }],
  ],
  I1: [
    ['a submit that is lost', { journal: [] }],
    [
      'one that nobody finds',
      {
        digests: new Map([
          ['checkpoint and tail', new Map()],
          ['codec', new Map([['wf', digestOf(story)]])],
        ]),
      },
    ],
  ],
  I2: [
    ['a result that is lost', { journal: journalOf(story).slice(0, 1) }],
    ['a result that is changed', wrote(3, { kind: 'jobFailed', error })],
    ['two outcomes', { journal: [...journalOf(story), another([submitted('wf2'), story[3], story[3]])] }],
  ],
  I3: [
    ['an assignment before the commit', told([lines[4], ...lines.filter((_, index) => index !== 4)])],
    ['other inputs', but(14, { value: { token: 't2', inputs: { a: '"other"' }, parameters: '{}' } })],
    ['inputs of a source that it does not come from', but(14, { value: { token: 't2', inputs: {}, parameters: '{}' } })],
    ['inputs of another workflow', but(7, { value: { token: 't1', inputs: { '': '{"n":1}' }, parameters: '{}' } })],
    ['other parameters', but(7, { value: { token: 't1', inputs: { '': '{}' }, parameters: '[]' } })],
    ['a checkpoint that nobody stored', but(7, { value: { token: 't1', inputs: { '': '{}' }, parameters: '{}', checkpoint: '1' } })],
    [
      'no checkpoint, though one was stored',
      {
        journal: journalOf(
          [...story.slice(0, 3), { kind: 'jobCheckpointed', at: 1, job: 0, checkpoint: json(1) }, ...story.slice(3)],
          [4, 2, 2],
        ),
        ...told(lines.map((each) => (each[0] === 'commit' ? commit((each[3]?.seq ?? 0) + 1) : each))),
      },
    ],
    ['ready before its source', { journal: journalOf([story[0], story[1], story[4], ...story.slice(3)]) }],
  ],
  I4: [
    ['a token of another job', but(4, { job: 'b' })],
    ['a token that nobody gave', told(lines.filter((_, index) => index !== 4))],
    ['another attempt', wrote(3, { attempt: attempt(2, 't1') })],
    ['one token, two records', wrote(5, { attempt: attempt(1, 't1') })],
    ['two leases of a job', told([...lines.slice(0, 8), assigned('a', 't9'), ...lines.slice(8)])],
    [
      'two, though the worker that had accepted the first is lost, for that leaves a record',
      told([
        ...lines.slice(0, 8),
        heard('answer', { token: 't1', answer: 'accepted' }),
        heard('lost', {}),
        assigned('a', 't9', { worker: 'w2' }),
        ...lines.slice(8),
      ]),
    ],
    ['given away after its end', told([...lines, assigned('a', 't9')])],
    ['given away too early after a takeover', but(0, { seq: 3 })],
    [
      'dropped, though its worker came back in time',
      {
        journal: journalOf(story).slice(0, 1),
        ...told([
          ...takenOver,
          heard('attach', { tokens: ['t1'], tenure: 'y' }),
          heard('welcome', { tokens: [], dropped: ['t1'], tenure: 'y' }),
        ]),
      },
    ],
  ],
  I5: [['no end', { journal: journalOf(story).slice(0, 2) }]],
  I6: [
    ['two terms of an epoch', { journal: journalOf(story).map((batch, index) => ({ ...batch, term: `x${index}` })) }],
    [
      'a read after the takeover',
      told([
        ...lines.slice(0, 12),
        ['own', 'ok', 'c2', { epoch: 2, term: 'y', seq: 5 }],
        ['read', 'invoke', 'client', { op: 4 }],
        ['shown', 'ok', 'c1', { op: 4, seq: 5 }],
      ]),
    ],
    ['told after the takeover', told([lines[0], ['own', 'ok', 'c2', { epoch: 2, term: 'y' }], ...lines.slice(1)])],
    ['one ownership twice', told([...lines, ['own', 'ok', 'c1', { seq: 7 }]])],
  ],
  I7: [
    ['a key of two workflows', { journal: [...journalOf(story), another([submitted('wf2')])] }],
    ['another body under the key', but(6, { value: { key: 'k', hash: 'other' } })],
    ['another workflow for the key', but(6, { workflow: 'wf2' })],
  ],
  I8: [
    ['an ack before the commit', told([...lines.slice(0, 9), lines[10], lines[9], ...lines.slice(11)])],
    ['a read ahead of the journal', but(13, { seq: 9 })],
    ['an assignment of what is not ready', { journal: journalOf(story).slice(0, 1) }],
    ['an ack of what has no record', told([...lines, ['ack', 'ok', 'c1', { job: 'a', value: { token: 't9', answer: 'DUPLICATE' } }]])],
    [
      'an ack of what was lost, for too long',
      told([
        ['went back', 'ok', 'db', { t_mono: 0 }],
        ...lines,
        ['ack', 'ok', 'c1', { t_mono: 9_000, job: 'a', value: { token: 't9', answer: 'ACCEPTED' } }],
      ]),
    ],
    [
      'what was lost, told for too long',
      told([['went back', 'ok', 'db', { t_mono: 0 }], ...lines, ['shown', 'ok', 'c1', { t_mono: 9_000, seq: 9 }]]),
    ],
    ['a watch that shows what is not there', but(18, { value: { kind: 'jobFailed' } })],
  ],
  I9: [
    ['a token given twice', told([...lines, lines[4]])],
    [
      'a workflow submitted twice',
      {
        journal: [
          ...journalOf(story),
          another([submitted('wf')], { entries: [{ workflowId: 'wf', firstEventSeq: 8, events: [submitted('wf')] }] }),
        ],
      },
    ],
  ],
  I10: [
    ['a success that nobody had', told(without('execute'))],
    ['one that had failed', but(8, {}, 'fail')],
    ['another output', wrote(3, { output: json('other') })],
  ],
  I11: [
    ['executed twice', told([...lines, run(9, 'a', 'invoke', { token: 't1' })])],
    [
      'more often than there are attempts',
      told([...lines, ['assign', 'ok', 'c1', { job: 'a', value: { token: 't9' } }], run(9, 'a', 'invoke', { token: 't9' })]),
    ],
    [
      'more often than leases explain',
      {
        isFaultless: false,
        ...told([
          ...lines.slice(0, 9),
          assigned('a', 't8'),
          assigned('a', 't9'),
          run(8, 'a', 'invoke', { token: 't8' }),
          run(9, 'a', 'invoke', { token: 't9' }),
          ...lines.slice(9),
        ]),
      },
    ],
    ['started by a later owner after its end', told([...without('assign'), run(9, 'a', 'invoke', { token: '2.1.x' })])],
  ],
  I12: [
    [
      'too many attempts',
      {
        journal: journalOf([
          ...story.slice(0, 3),
          { kind: 'jobRetryScheduled', at: 4, job: 0, attempt: attempt(1, 't0'), error: { ...error, retryable: true }, nextAttemptAt: 5 },
          ...story.slice(3),
        ]),
      },
    ],
    ['a wrong end', wrote(6, { status: 'FAILED' })],
    [
      'a job that should have run',
      {
        journal: journalOf(
          story.map((each, index) => (index === 5 ? { kind: 'jobSkipped', at: 19, job: 1, reason: 'UPSTREAM_SKIPPED', causes: [] } : each)),
        ),
      },
    ],
  ],
  I13: [
    ['an assignment after the cancel', told([['cancel', 'ok', 'client', { value: { answer: 'done', force: false } }], ...lines])],
    [
      'a start by a later owner after the cancel',
      {
        ...wrote(1, { kind: 'cancelRequested', reason: '', force: false }),
        ...told([...without('assign'), run(9, 'b', 'invoke', { token: '2.1.x' })]),
      },
    ],
  ],
  I14: [
    ['more than there are slots', told([...lines.slice(0, 8), run(9, 'b', 'invoke', { token: 't2' }), ...lines.slice(8)])],
    ['more leases than slots', told([joined({ slots: 1 }), ...lines.slice(0, 5), assigned('b', 't9'), ...lines.slice(5)])],
    [
      'more leases of a type than it takes',
      told([joined({ capabilities: { work: 1 } }), ...lines.slice(0, 5), assigned('b', 't9'), ...lines.slice(5)]),
    ],
    ['a type that it does not take', told([joined({ capabilities: { other: 0 } }), ...lines])],
    [
      'a label that it does not have',
      { journal: journalOf([{ ...story[0], graph: choosy } as DurableEvent, ...story.slice(1)]), ...told([joined({}), ...lines]) },
    ],
  ],
  I16: [
    ['not found after the submit', but(13, { value: { answer: 'not found' } })],
    ['a read of before what was known', but(13, { seq: 2 })],
    ['another status', but(13, { value: { answer: 'PAUSED' } })],
    [
      'a list that lacks one',
      told([...lines, ['list', 'invoke', 'client', { op: 9 }], ['list', 'ok', 'client', { op: 9, value: { ids: [] } }]]),
    ],
    ['a gap in a watch', told(lines.filter((_, index) => index !== 18))],
    ['a watch without an end', told(lines.slice(0, 18))],
    ['a watch that ends too early', but(20, { value: { kind: 'jobSucceeded' } })],
  ],
  I17: [
    [
      'a cancel that was refused, and is there',
      {
        journal: journalOf([...story.slice(0, 6), cancelled(9), story[6]]),
        ...told([...lines, ['cancel', 'fail', 'client', { op: 9, value: { answer: 'duplicate' } }]]),
      },
    ],
    ['a cancel that was done, and is not there', told([...lines, ['cancel', 'ok', 'client', { op: 9, value: { answer: 'done' } }]])],
    [
      'a pause that was refused, and is there',
      {
        journal: journalOf([...story.slice(0, 6), { kind: 'paused', at: 19 }, story[6]]),
        ...told([...lines, ['pause', 'fail', 'client', { op: 9, value: { answer: 'duplicate' } }]]),
      },
    ],
    ['refused, and there', but(6, { value: { answer: 'overloaded' } }, 'fail')],
    [
      'one submit, two workflows',
      {
        journal: [...journalOf(story), another([submitted('wf2', '')])],
        ...told([...lines, ['offer', 'invoke', 'c1', { op: 1, workflow: 'wf2' }]]),
      },
    ],
  ],
  I18: [
    [
      'another ending',
      {
        endings: new Map([
          ['there', 'x'],
          ['away', 'y'],
        ]),
      },
    ],
  ],
  I19: [['timers', { leftovers: { timers: 2 } }]],
  I20: [['refused without a time', { ...but(6, { value: { answer: 'overloaded', message: 'full' } }, 'fail'), journal: [] }]],
};

/** What looks alike, and is well. */
const alsoGood: readonly (readonly [what: string, invariant: string, over: Partial<Evidence>])[] = [
  [
    'an offer that was refused is made again',
    'I4',
    told([...lines.slice(0, 4), assigned('a', 't0'), heard('answer', { token: 't0', answer: 'refused' }), ...lines.slice(4)]),
  ],
  [
    'an offer whose worker is lost is made again',
    'I4',
    told([...lines.slice(0, 4), assigned('a', 't0'), heard('lost', {}), ...lines.slice(4)]),
  ],
  [
    'what is given back is made again',
    'I4',
    told([...lines.slice(0, 4), assigned('a', 't0'), heard('result', { token: 't0', outcome: 'released' }), ...lines.slice(4)]),
  ],
  [
    'an attempt that is kept over a takeover',
    'I4',
    {
      journal: journalOf(story).slice(0, 1),
      ...told([
        ...takenOver,
        heard('attach', { tokens: ['t1'], tenure: 'y' }),
        heard('welcome', { tokens: ['t1'], dropped: [], tenure: 'y' }),
      ]),
    },
  ],
  [
    'a read that began before the takeover',
    'I6',
    told([
      ...lines.slice(0, 12),
      ['read', 'invoke', 'client', { op: 4 }],
      ['own', 'ok', 'c2', { epoch: 2, term: 'y', seq: 5 }],
      ['shown', 'ok', 'c1', { op: 4, seq: 5 }],
    ]),
  ],
  [
    'what is given back has no record',
    'I8',
    told([
      ...lines,
      heard('result', { token: 't9', outcome: 'released' }),
      ['ack', 'ok', 'c1', { job: 'a', value: { token: 't9', answer: 'ACCEPTED' } }],
    ]),
  ],
  [
    'room for two',
    'I14',
    told([joined({ slots: 2, capabilities: { work: 2 } }), ...lines.slice(0, 5), assigned('b', 't9'), ...lines.slice(5)]),
  ],
];

t.test('what looks alike, and is well', async (t) => {
  for (const [what, invariant, over] of alsoGood) t.same(checkers[invariant](new Case({ ...good, ...over })), [], what);
});

for (const [invariant, checker] of Object.entries(checkers)) {
  t.test(`${invariant}: ${checker.name}`, async (t) => {
    t.same(checker(new Case(good)), [], 'takes what is well');
    t.ok((bad[invariant] ?? []).length > 0);
    for (const [what, over] of bad[invariant] ?? []) t.not(checker(new Case({ ...good, ...over })).length, 0, `finds ${what}`);
  });
}

t.test('when timers fire', async (t) => {
  const timeouts = { queueMs: 20, runMs: 30, heartbeatMs: 10, totalMs: 60 };
  const timely = { ...graph, timeoutMs: 50, cleanupTimeoutMs: 5, jobs: graph.jobs.map((job) => ({ ...job, timeouts })) };
  const first = [{ ...submitted('wf'), graph: timely } as DurableEvent, ...story.slice(1, 3)];
  const failed = (at: number, code: string, of: ReturnType<typeof attempt> | null = null): DurableEvent => {
    const message = code === 'TIMEOUT' ? 'the attempt was not done within its timeout of 30 ms' : '';
    return { kind: 'jobFailed', at, job: 0, attempt: of, error: { ...error, code, message } };
  };
  const retried = (nextAttemptAt: number): DurableEvent => {
    return { kind: 'jobRetryScheduled', at: 3, job: 0, attempt: attempt(1, 't1'), error: { ...error, retryable: true }, nextAttemptAt };
  };
  const find = (events: readonly DurableEvent[], history: readonly Line[] = lines, over: Partial<Evidence> = {}): string[] => {
    const all = [...first, ...events];
    return timersFireInTime(new Case({ ...good, journal: journalOf(all, [3, all.length - 3]), ...told(history), ...over }));
  };
  const early: readonly (readonly [due: number, event: (at: number) => readonly DurableEvent[]])[] = [
    [21, (at) => [failed(at, 'QUEUE_TIMEOUT')]],
    [61, (at) => [failed(at, 'TOTAL_TIMEOUT')]],
    [35, (at) => [failed(at, 'TIMEOUT', attempt(1, 't1'))]],
    [15, (at) => [failed(at, 'HEARTBEAT_TIMEOUT', attempt(1, 't1'))]],
    [51, (at) => [{ kind: 'timedOut', at, limit: 'timeout' }]],
    [24, (at) => [cancelled(9), { kind: 'timedOut', at, limit: 'cleanup_timeout' }]],
    [45, (at) => [{ kind: 'paused', at: 9 }, { kind: 'resumed', at: 25 }, failed(at, 'QUEUE_TIMEOUT')]],
    [26, (at) => [retried(6), failed(at, 'QUEUE_TIMEOUT')]],
  ];
  for (const [due, events] of early) {
    t.same(find(events(due)), [], `at ${due}`);
    t.match(find(events(due - 1)), [/fired 1 ms early/]);
  }
  const late = { kind: 'ended', status: 'FAILED', outputs: null, error: null, errorJob: null } as const;
  t.match(find([{ ...late, at: 152 }]), [/the timeout was due 101 ms before ended/]);
  t.same(find([{ ...late, at: 152 }], lines, { isFaultless: false }), [], 'which may be with a fault');
  t.match(find([failed(162, 'BROKEN')]), [/timeout was due/, /total timeout of a was due 101 ms before jobFailed/]);
  t.match(find([failed(136, 'BROKEN', attempt(1, 't1'))]), [/timeout of a was due 101 ms before/]);
  t.match(find([cancelled(9), { ...late, at: 125 + timely.cancelGraceMs }]), [/cleanup timeout was due/]);

  const again: readonly Line[] = [...lines.slice(0, 9), commit(4), assigned('a', 't3')];
  t.same(find([retried(10)], again), [], 'assigned at its time');
  t.match(find([retried(11)], again), [/a of wf was assigned 1 ms before its time/]);
  const beat = (line: Line): readonly Line[] => [...lines.slice(0, 9), line];
  const silent = [failed(15, 'HEARTBEAT_TIMEOUT', attempt(1, 't1'))];
  t.match(find(silent, beat(heard('beat', { token: 't1', idleMs: 2 }))), [/given up 2 ms early, for a heartbeat was heard/]);
  t.same(find(silent, beat(heard('beat', { token: 't1', idleMs: 4 }))), []);
  const takeover: readonly Line[] = [...lines.slice(0, 4), ['own', 'ok', 'c2', { epoch: 1, term: 'y', seq: 3 }]];
  t.match(find([failed(21, 'QUEUE_TIMEOUT')], takeover), [/fired 8003 ms early/], 'time in the queue counts from the end of the grace');
});

t.test('a history as text', async (t) => {
  const written: string[] = [];
  const writer = new HistoryWriter((text) => written.push(text));
  const stamp = { t_mono: 1, t_wall: 2, node: 'c1', incarnation: 1 };
  writer.write(stamp, { op: writer.newOp(), f: 'read', type: 'invoke', workflow: 'wf' });
  writer.write(stamp, { op: writer.newOp(), f: 'read', type: 'ok', workflow: 'wf', value: { answer: 'found' } });
  t.same(parseHistory(printHistory(writer.events)), writer.events);
  t.equal(written.join(''), printHistory(writer.events));
  t.throws(() => parseHistory('{"f":1}\nnothing\n'), /line 2/);
});
