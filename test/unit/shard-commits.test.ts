/**
 * Durable first, then tell: the commit loop by itself, and the shard through everything that leaves it.
 */
import fc from 'fast-check';
import t from 'tap';
import { type BatchCaps, CommitLoop } from '../../coordinator/shard/commit-loop.ts';
import { sizeOf } from '../../coordinator/shard/event-size.ts';
import { ShardStopped } from '../../coordinator/shard/requests.ts';
import type { JournalEntry, Ownership, Store } from '../../coordinator/store/store.ts';
import { graphOf, json } from '../engine-support/graphs.ts';
import { HeldStore } from '../shard-support/held-store.ts';
import { ShardWorld } from '../shard-support/world.ts';

const wide: BatchCaps = { events: 1_000, bytes: 1_000_000 };

function entryOf(events: number, workflowId = 'wf'): JournalEntry {
  return { workflowId, firstEventSeq: 1, events: Array.from({ length: events }, () => ({ kind: 'started', at: 1 }) as const) };
}

async function loopOver(store: Store, caps = wide, mayTell = () => true) {
  const lost: string[] = [];
  const broken: unknown[] = [];
  const troubles: (string | null)[] = [];
  const later: { readonly delayMs: number; readonly turn: () => void }[] = [];
  const loop = new CommitLoop(store, await ownershipOf(store), caps, {
    mayTell,
    onReclaimed: () => {},
    later: (delayMs, turn) => later.push({ delayMs, turn }),
    onLost: (reason) => lost.push(reason),
    onBroken: (error) => broken.push(error),
    onBatch: () => {},
    onTrouble: (message) => troubles.push(message),
  });
  return { loop, lost, broken, troubles, later };
}

async function ownershipOf(store: Store): Promise<Ownership> {
  const acquired = await store.acquire({ coordinatorId: 'c', address: '' });
  if (acquired.kind !== 'acquired') throw new Error(acquired.kind);
  return acquired.ownership;
}

async function breathe(): Promise<void> {
  for (let i = 0; i < 8; i++) await null;
}

t.test('an effect waits for the commit of what was decided before it, and no longer', async (t) => {
  const store = new HeldStore();
  store.closed = true;
  const { loop } = await loopOver(store);
  const seen: string[] = [];
  loop.after(() => seen.push('before anything'));
  loop.append(entryOf(1), 1);
  loop.after(() => seen.push('after 1'));
  t.same(seen, []);
  loop.flush();
  loop.append(entryOf(1), 1);
  loop.after(() => seen.push('after 2'));
  loop.flush();
  t.same([store.inFlight, loop.backlogEvents], [1, 2], 'one in flight, both uncommitted');
  await store.letThrough();
  await breathe();
  t.same(seen, ['before anything', 'after 1']);
  t.same([loop.committedSeq, loop.backlogEvents, loop.backlogBytes], [1, 1, 1]);
  await store.letThrough();
  await breathe();
  t.same(seen, ['before anything', 'after 1', 'after 2']);
  t.same([loop.committedSeq, loop.backlogEvents, loop.backlogBytes], [2, 0, 0]);
});

t.test('without anything to commit an effect is released at once, and behind a commit only after it', async (t) => {
  const store = new HeldStore();
  const { loop } = await loopOver(store);
  const seen: string[] = [];
  loop.after(() => seen.push('read'));
  loop.flush();
  t.same(seen, ['read']);
  store.closed = true;
  loop.append(entryOf(1), 1);
  loop.flush();
  loop.after(() => seen.push('read behind'));
  loop.flush();
  t.same(seen, ['read'], 'what was decided and may still be lost is shown to nobody');
  await store.letThrough();
  await breathe();
  t.same(seen, ['read', 'read behind']);
});

t.test('a batch ends at its bounds of events and bytes; one entry that is larger goes alone', async (t) => {
  const store = new HeldStore();
  const { loop } = await loopOver(store, { events: 3, bytes: 100 });
  for (const [events, bytes] of [
    [2, 1],
    [1, 1],
    [1, 1],
    [9, 1],
    [1, 99],
    [1, 1],
    [1, 1],
  ])
    loop.append(entryOf(events), bytes);
  loop.flush();
  for (let i = 0; i < 20; i++) await breathe();
  const { batches } = store.journal;
  t.same(
    batches.map(({ entries }) => entries.map(({ events }) => events.length)),
    [[2, 1], [1], [9], [1, 1], [1]],
  );
  t.same(
    batches.map(({ firstSeq, lastSeq }) => [firstSeq, lastSeq]),
    [
      [1, 3],
      [4, 4],
      [5, 13],
      [14, 15],
      [16, 16],
    ],
    'without gaps',
  );
  t.equal(store.mostInFlight, 1);
});

t.test('after a fence, and after a commit that never can succeed, nothing is told and nothing is tried', async (t) => {
  const outcomes = [
    [{ kind: 'fenced' }, 'commit: another coordinator has the shard'],
    [{ kind: 'aborted', isTransient: false, message: 'no' }, 'commit: no'],
  ] as const;
  for (const [outcome, reason] of outcomes) {
    const store = new HeldStore();
    store.closed = true;
    const { loop, lost, later } = await loopOver(store);
    const seen: string[] = [];
    loop.append(entryOf(1), 1);
    loop.after(() => seen.push('lost'));
    loop.flush();
    loop.append(entryOf(1), 1);
    loop.after(() => seen.push('lost too'));
    store.refuse(outcome);
    await breathe();
    loop.after(() => seen.push('later'));
    loop.flush();
    await breathe();
    t.same(seen, [], outcome.kind);
    t.same(lost, [reason]);
    t.same([store.inFlight, loop.committedSeq, store.journal.lastSeq, later.length], [0, 0, 0, 0]);
  }
});

t.test('a commit that did not happen is tried again, later and later, and then everything goes on', async (t) => {
  const store = new HeldStore();
  store.closed = true;
  const { loop, lost, troubles, later } = await loopOver(store);
  const seen: string[] = [];
  loop.append(entryOf(2), 1);
  loop.after(() => seen.push('first'));
  loop.flush();
  const pauses: number[] = [];
  for (let round = 0; round < 7; round++) {
    store.refuse({ kind: 'aborted', isTransient: true, message: 'read-only' });
    await breathe();
    loop.append(entryOf(1), 1);
    loop.after(() => seen.push(`after ${round}`));
    loop.flush();
    t.equal(store.inFlight, 0, 'nothing goes out meanwhile');
    const [{ delayMs, turn }] = later.splice(0);
    pauses.push(delayMs);
    turn();
  }
  t.same(pauses, [50, 100, 200, 400, 800, 1_000, 1_000]);
  t.same(seen, []);
  await store.open();
  await breathe();
  t.same(seen, ['first', ...Array.from({ length: 7 }, (_, round) => `after ${round}`)]);
  t.same([loop.committedSeq, loop.backlogEvents, lost.length], [9, 0, 0]);
  t.same(troubles, [...new Array(7).fill('read-only'), null], 'it says what keeps it, and when that is over');
});

t.test('a commit of which nobody knows is found out before anything else happens', async (t) => {
  for (const committed of [true, false]) {
    const store = new HeldStore();
    store.closed = true;
    const { loop, lost, troubles } = await loopOver(store);
    const seen: string[] = [];
    loop.append(entryOf(2), 1);
    loop.after(() => seen.push('first'));
    loop.flush();
    loop.append(entryOf(1), 1);
    loop.after(() => seen.push('second'));
    if (committed) await store.loseReply();
    else store.refuse({ kind: 'unknown', message: 'the connection is gone' });
    await breathe();
    t.same(seen, committed ? ['first'] : []);
    t.equal(store.inFlight, 1, 'what was not there is sent again, else what comes next');
    await store.open();
    await breathe();
    t.same(seen, ['first', 'second']);
    t.same([loop.committedSeq, store.journal.lastSeq, lost.length], [3, 3, 0]);
    t.same(
      store.journal.batches.map(({ firstSeq }) => firstSeq),
      [1, 3],
      'once each',
    );
    t.equal(troubles.at(-1), null);
    t.equal(store.journal.epoch, 2);
  }
});

t.test('the question what became of a commit is asked until it is answered', async (t) => {
  const store = new HeldStore();
  store.closed = true;
  const { loop, lost, later } = await loopOver(store);
  loop.append(entryOf(1), 1);
  loop.flush();
  const reclaim = store.reclaim.bind(store);
  store.reclaim = async () => ({ kind: 'unavailable', message: 'no connection' });
  store.refuse({ kind: 'unknown', message: 'gone' });
  for (let round = 0; round < 3; round++) {
    await breathe();
    t.equal(later.length, 1);
    if (round === 2) store.reclaim = reclaim;
    later.splice(0)[0].turn();
  }
  await breathe();
  t.equal(store.inFlight, 1);
  await store.open();
  await breathe();
  t.same([loop.committedSeq, lost.length], [1, 0]);
});

t.test('whoever lost the shard meanwhile, or whose journal went back in time, stops', async (t) => {
  const cases = [
    [async () => ({ kind: 'lost', message: 'another owner has the shard' }) as const, /another owner/],
    [
      async () => ({ kind: 'reclaimed', ownership: { epoch: 9, termId: 'x', lastSeq: 1 } }) as const,
      /ends at 1, where 3 or 5 was expected/,
    ],
  ] as const;
  for (const [reclaim, reason] of cases) {
    const store = new HeldStore();
    const { loop, lost } = await loopOver(store);
    loop.append(entryOf(3), 1);
    loop.flush();
    await breathe();
    store.closed = true;
    store.reclaim = reclaim;
    loop.append(entryOf(2), 1);
    loop.after(() => t.fail('told'));
    loop.flush();
    store.refuse({ kind: 'unknown', message: 'gone' });
    await breathe();
    t.match(lost, [reason]);
    t.equal(store.inFlight, 0);
  }
});

t.test('nothing is told while the lease is not known to hold; it is when it does', async (t) => {
  const store = new HeldStore();
  let holds = false;
  const { loop } = await loopOver(store, wide, () => holds);
  const seen: string[] = [];
  loop.after(() => seen.push('read'));
  loop.append(entryOf(1), 1);
  loop.after(() => seen.push('committed'));
  loop.flush();
  await breathe();
  t.same([seen, loop.committedSeq], [[], 1], 'commits go on: the store judges them');
  holds = true;
  loop.flush();
  t.same(seen, ['read', 'committed']);
});

t.test('a loop that was stopped commits nothing more and tells nobody of what was in flight', async (t) => {
  const store = new HeldStore();
  store.closed = true;
  const { loop, lost } = await loopOver(store);
  const seen: string[] = [];
  loop.append(entryOf(1), 1);
  loop.after(() => seen.push('in flight'));
  loop.flush();
  loop.append(entryOf(1), 1);
  loop.stop();
  await store.letThrough();
  await breathe();
  t.same([seen, lost, store.journal.lastSeq, store.inFlight], [[], [], 1, 0]);
});

t.test('an effect that throws and a store that does are told, and nothing goes on', async (t) => {
  const store = new HeldStore();
  const { loop, broken } = await loopOver(store);
  const seen: string[] = [];
  loop.append(entryOf(1), 1);
  loop.after(() => {
    throw new Error('impossible');
  });
  loop.after(() => seen.push('after it'));
  loop.flush();
  await breathe();
  t.match(broken, [{ message: 'impossible' }]);
  t.same(seen, []);

  const failing = new HeldStore();
  failing.commit = () => Promise.reject(new Error('a store must not do this'));
  const other = await loopOver(failing);
  other.loop.append(entryOf(1), 1);
  other.loop.flush();
  await breathe();
  t.match(other.broken, [{ message: 'a store must not do this' }]);
});

t.test('any order of facts, effects and commits: every effect after its facts, in order, each once', async (t) => {
  const step = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant('append' as const), events: fc.integer({ min: 1, max: 5 }), bytes: fc.nat(60) }),
    },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('effect' as const) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('flush' as const) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('commit' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('fence' as const) }) },
  );
  const property = fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async (steps) => {
    const store = new HeldStore();
    store.closed = true;
    const { loop } = await loopOver(store, { events: 7, bytes: 100 });
    let decided = 0;
    let effects = 0;
    let fenced = false;
    const released: number[] = [];
    for (const each of steps) {
      if (each.kind === 'append') {
        loop.append(entryOf(each.events), each.bytes);
        decided += each.events;
      } else if (each.kind === 'effect') {
        const number = effects++;
        const restsOn = decided;
        loop.after(() => {
          if (store.journal.lastSeq < restsOn)
            throw new Error(`effect ${number} rests on ${restsOn}, ${store.journal.lastSeq} are committed`);
          if (fenced) throw new Error('an effect after the fence');
          released.push(number);
        });
      } else if (each.kind === 'flush') loop.flush();
      else if (each.kind === 'commit') await store.letThrough();
      else if (store.inFlight > 0) {
        store.refuse({ kind: 'fenced' });
        fenced = true;
      }
      await breathe();
    }
    for (let i = 0; i < 100; i++) {
      loop.flush();
      await store.letThrough();
      await breathe();
    }
    if (released.some((number, index) => number !== index)) throw new Error(`released ${released}`);
    if (!fenced && released.length !== effects) throw new Error(`${released.length} of ${effects} effects were released`);
    if (!fenced && (store.journal.lastSeq !== decided || loop.backlogEvents !== 0 || loop.backlogBytes !== 0))
      throw new Error('facts are left');
    if (store.mostInFlight > 1) throw new Error('two commits in flight');
  });
  await fc.assert(property, { numRuns: 150 });
  t.pass();
});

t.test('what events weigh grows with what they carry', async (t) => {
  const bytes = 10_000;
  const payload = { encoding: 'json', data: new Uint8Array(bytes) };
  const error = { code: 'X', message: 'm'.repeat(bytes), retryable: false, details: payload, retryAfterMs: 0, stack: 's'.repeat(bytes) };
  const attempt = { number: 1, token: 't', workerId: 'w', startMs: 1 };
  const at = 1;
  const submitted = {
    kind: 'submitted',
    at,
    workflowId: 'wf',
    graph: graphOf('a'),
    inputs: payload,
    idempotencyKey: '',
    requestHash: '',
  } as const;
  t.ok(sizeOf([{ ...submitted, labels: { key: 'v'.repeat(bytes) } }]) >= 2 * bytes);
  t.ok(sizeOf([{ kind: 'jobReady', at, job: 0, parameters: payload, inputJobs: [] }]) >= bytes);
  t.ok(sizeOf([{ kind: 'jobSucceeded', at, job: 0, attempt, output: payload }]) >= bytes);
  t.ok(sizeOf([{ kind: 'jobCheckpointed', at, job: 0, checkpoint: payload }]) >= bytes);
  t.ok(sizeOf([{ kind: 'jobFailed', at, job: 0, attempt, error }]) >= 3 * bytes);
  t.ok(sizeOf([{ kind: 'jobRetryScheduled', at, job: 0, attempt, error, nextAttemptAt: 2 }]) >= 3 * bytes);
  t.ok(sizeOf([{ kind: 'ended', at, status: 'FAILED', outputs: payload, error, errorJob: 0 }]) >= 4 * bytes);
  t.ok(sizeOf([{ kind: 'jobSkipped', at, job: 0, reason: 'UPSTREAM_FAILED', causes: [1, 2] }]) > 0);
});

t.test('nothing leaves the shard before its commit: reply, assignment, ack, verdict, read, watched event', async (t) => {
  const world = await ShardWorld.open();
  const worker = world.worker('w1');
  await world.settle();
  world.store.closed = true;
  const seen: string[] = [];
  const reply = world.submit(graphOf('a.ok->b')).then(({ kind }) => seen.push(`submit ${kind}`));
  await world.settle();
  const [id] = world.ids;
  const read = world.read(id).then((state) => seen.push(`read ${state?.seq}`));
  world.watch(id, 0, { event: (seq) => seen.push(`event ${seq}`) });
  await world.settle();
  t.same([seen, worker.assigned.length], [[], 0], 'the first commit is in flight');
  await world.store.letThrough();
  await world.settle();
  await Promise.all([reply, read]);
  t.same(seen.sort(), ['event 1', 'event 2', 'event 3', 'read 3', 'submit accepted']);
  t.equal(worker.assigned.length, 1);

  const [token] = worker.unanswered.keys();
  worker.accept(token);
  worker.succeed(token);
  await world.settle();
  t.same([worker.acks.length, worker.assigned.length], [0, 1], 'neither the ack nor what follows');
  worker.detach();
  worker.attach();
  await world.settle();
  t.equal(worker.phase, 'attaching', 'nor the verdict on what the worker holds');
  const paused = world.command(id, { kind: 'pause' }).then(({ kind }) => seen.push(`pause ${kind}`));
  await world.settle();
  t.equal(world.store.inFlight, 1);
  await world.store.open();
  await world.settle();
  await paused;
  t.ok(seen.includes('pause done'));
  t.equal(worker.phase, 'ready');
  t.same(worker.acks, ['DUPLICATE'], 'the ack was lost with the connection, so it is asked for again');
  t.same(world.violations, []);
});

t.test('a shard that lost its ownership stops: nobody is told anything, and it takes nothing more', async (t) => {
  const world = await ShardWorld.open();
  const worker = world.worker('w1');
  await world.settle();
  world.store.closed = true;
  const untold = world.submit(graphOf('a'));
  untold.catch(() => {});
  await world.settle();
  await new HeldStore(world.store.journal).acquire();
  await world.store.open();
  await world.settle();
  t.equal(world.ports.stopped, 'commit: another coordinator has the shard');
  t.equal(world.ports.alarmAt, null);
  t.same([worker.assigned.length, world.store.journal.lastSeq], [0, 0]);
  await t.rejects(untold, { name: 'OutcomeUnknown', message: /commit: another coordinator has the shard; .* not known/ });
  await t.rejects(
    world.shard.query(() => 1),
    ShardStopped,
  );
  await t.rejects(world.shard.command('wf-000001', { kind: 'start' }), ShardStopped);
  await t.rejects(world.shard.submit([{ ...submission, graph: graphOf('a') }]), ShardStopped);
  worker.beat();
  await world.settle();
});

const submission = { workflowId: 'wf', inputs: json({}), labels: {}, idempotencyKey: '', requestHash: '', start: true };

t.test('a shard that was stopped says so, and what it had not committed never happened', async (t) => {
  const world = await ShardWorld.open();
  world.store.closed = true;
  const [onItsWay, waits]: Promise<unknown>[] = [world.submit(graphOf('a')), world.submit(graphOf('a'))];
  await world.settle();
  const steered: Promise<unknown> = world.shard.command('wf-000001', { kind: 'pause' });
  const read: Promise<unknown> = world.shard.query(() => 1);
  await world.settle();
  const undecided = world.shard.command('wf-000001', { kind: 'resume' });
  for (const call of [onItsWay, waits, steered, read, undecided]) call.catch(() => {});
  world.shard.stop();
  await world.store.open();
  await world.settle();
  t.equal(world.store.journal.batches.length, 1, 'only what was on its way');
  for (const call of [onItsWay, waits, steered])
    await t.rejects(call, { name: 'OutcomeUnknown' }, 'it was decided; its commit is not known');
  for (const call of [read, undecided]) await t.rejects(call, { name: 'ShardStopped' }, 'nothing was done');
  await t.rejects(
    world.shard.query(() => 1),
    { message: 'this coordinator is ending' },
  );
});

t.test('a reader that throws is told so, and harms nobody', async (t) => {
  const world = await ShardWorld.open();
  const failing = world.shard.query(() => {
    throw new Error('no such job');
  });
  const other = world.shard.query((table) => table.open);
  await world.settle();
  await t.rejects(failing, { message: 'no such job' });
  t.equal(await other, 0);
});

t.test('what must not be possible stops the shard, and nothing of that turn is written', async (t) => {
  const [job] = graphOf('a').jobs;
  const throwing = () => {
    throw new Error('a condition that throws');
  };
  const world = await ShardWorld.open();
  const calls = [
    world.submit(graphOf('a')),
    world.submit(graphOf('a', { jobs: { a: { ...job, condition: { source: 'x', evaluate: throwing } } } })),
  ];
  for (const call of calls) call.catch(() => {});
  await world.settle();
  for (const call of calls) await t.rejects(call, { name: 'OutcomeUnknown' });
  t.match(world.ports.stopped, /an invariant is broken: Error: a condition that throws\n.*at /);
  t.equal(world.store.journal.lastSeq, 0);
  await t.rejects(
    world.shard.query(() => 1),
    ShardStopped,
  );
});
