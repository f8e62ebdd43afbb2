/**
 * The worker's end of the stream, rule by rule (proto/PROTOCOL.md): a step, and all that it led to.
 */
import { ResultAck_Verdict } from '@workflow-orchestrator/proto';
import t from 'tap';
import { reconnectDelayMs } from '../../worker/session/backoff.ts';
import { closed } from '../../worker/session/session.ts';
import { workerLimits } from '../../worker/session/worker-limits.ts';
import { assignment, coordinatorFrame } from '../stream-support/frames.ts';
import { outcomes, WorkerStory } from '../stream-support/worker-story.ts';

const give = (...tokens: string[]) => ({ case: 'assignments' as const, value: { assignments: tokens.map((token) => assignment(token)) } });
const acks = (...tokens: string[]) => ({
  case: 'resultAcks' as const,
  value: { acks: tokens.map((leaseToken) => ({ leaseToken, verdict: 1 as const })) },
});
const reply = (value: { lost?: string[]; cancel?: string[] } = {}) => ({ case: 'heartbeatReply' as const, value });
/** Lets time pass while the coordinator answers heartbeats. */
const live = (story: WorkerStory, ms: number): string[] => {
  const written: string[] = [];
  for (let left = ms; left > 0; left -= 1_000) {
    written.push(...story.advance(Math.min(left, 1_000)));
    written.push(...story.receive(reply()));
  }
  return written.filter((line) => !/> heartbeat$/.test(line));
};

t.test('connect, greet, welcome, credit (R10, R15, R20)', async (t) => {
  const story = new WorkerStory();
  t.same(story.start(), ['connect 1 ws://one/workers']);
  t.same(story.open(), ['1 > hello']);
  t.same(story.receive({ case: 'welcome', value: { sessionId: 's1' } }), ['welcomed s1', '1 > credit 4']);
});

t.test('jobs: answered, run, results kept until they are acked, credit for the free slot (R20, R22, R40)', async (t) => {
  const story = new WorkerStory().ready();
  t.same(story.receive(give('a', 'b')), ['run a', 'run b', '1 > replies a:yes b:yes']);
  t.same(story.finish('a'), ['1 > results a:output', '1 > credit 5']);
  t.same(story.finish('b', outcomes.error), ['1 > results b:BOOM', '1 > credit 6']);
  t.equal(story.session.ended.size, 2);
  t.same(story.receive(acks('a', 'b', 'nobody')), []);
  t.equal(story.session.ended.size, 0);
});

t.test('what cannot be taken is rejected with a reason, and its credit comes back (R22)', async (t) => {
  const story = new WorkerStory().ready();
  const odd = [assignment('x', { type: 'unknown' }), assignment('b1', { type: 'big' }), assignment('b2', { type: 'big' })];
  t.same(story.receive({ case: 'assignments', value: { assignments: odd } }), [
    'run b1',
    '1 > replies x:no (no handler) b1:yes b2:no (no slot)',
    '1 > credit 6',
  ]);
  t.same(story.receive(give('a', 'b', 'c', 'd')), [
    'run a',
    'run b',
    'run c',
    '1 > replies a:yes b:yes c:yes d:no (no slot)',
    '1 > credit 7',
  ]);
});

t.test('an assignment that comes twice runs once (R23)', async (t) => {
  const story = new WorkerStory().ready();
  story.receive(give('a'));
  t.same(story.receive(give('a')), ['1 > replies a:yes', '1 > credit 5']);
  story.finish('a');
  t.match(story.receive(give('a')), ['1 > replies a:yes']);
});

t.test('a connection breaks: connects again, names what it holds, sends results again (R10, R40, R54)', async (t) => {
  const story = new WorkerStory().ready();
  story.receive(give('a', 'b'));
  story.finish('a');
  t.same(story.close(), ['disconnected']);
  t.same(story.finish('b'), []);
  t.same(story.advance(50), ['connect 2 ws://one/workers']);
  t.same(story.open(), ['2 > hello a! b!']);
  t.same(story.receive({ case: 'welcome', value: { sessionId: 's2' } }), ['welcomed s2', '2 > results a:output b:output', '2 > credit 4']);
});

t.test('verdicts: abandoned attempts are stopped and forgotten, their slots are free when the handlers return (R15, R42)', async (t) => {
  const story = new WorkerStory().ready();
  story.receive(give('a', 'b', 'c'));
  story.finish('a');
  story.close();
  story.advance(50);
  t.same(story.open(), ['2 > hello b c a!']);
  const verdicts = ['a', 'b', 'nobody'].map((leaseToken) => ({ leaseToken, verdict: 2 as const }));
  t.same(story.receive({ case: 'welcome', value: { sessionId: 's2', verdicts } }), ['abort b lost', 'welcomed s2', '2 > credit 2']);
  t.match(
    story.notes.filter((note) => /given up/.test(note)),
    [/the result of attempt 1 of job '.+' of workflow '.+' is given up/, /attempt 1 of job '.+' of workflow '.+' is given up/],
    'one line each, none of an attempt that is not held',
  );
  t.same(story.finish('b', outcomes.error), ['2 > credit 3'], 'no result');
  t.same(story.finish('c'), ['2 > results c:output', '2 > credit 4']);
});

t.test('a result that counts for nothing is told to the operator once (R41)', async (t) => {
  const story = new WorkerStory().ready();
  story.receive(give('a', 'b', 'c'));
  for (const token of ['a', 'b', 'c']) story.finish(token);
  const before = story.notes.length;
  const { ACCEPTED, STALE, WORKFLOW_ENDED } = ResultAck_Verdict;
  const verdicts = { a: STALE, b: WORKFLOW_ENDED, c: ACCEPTED, nobody: STALE };
  const value = { acks: Object.entries(verdicts).map(([leaseToken, verdict]) => ({ leaseToken, verdict })) };
  for (let times = 0; times < 2; times++) story.receive({ case: 'resultAcks', value });
  t.match(story.notes.slice(before), [/came too late: another attempt counts/, /came too late: the workflow has ended/]);
  t.equal(story.notes.length, before + 2);
  t.same(story.acknowledged, ['a STALE', 'b WORKFLOW_ENDED', 'c ACCEPTED'], 'each verdict once');
});

t.test('heartbeats: all leases, progress, checkpoints until they are known to have arrived (R30)', async (t) => {
  const story = new WorkerStory().ready();
  story.receive(give('a', 'b'));
  story.finish('b');
  t.ok(story.progress('a', 0.5, 'half'));
  t.ok(story.checkpoint('a', { row: 1 }));
  t.equal(story.progress('b', 1), false, 'ended');
  t.same(story.advance(2_000), ['1 > heartbeat a*']);
  t.same(story.advance(2_000), ['1 > heartbeat a*'], 'not acked');
  story.receiveFrame(coordinatorFrame(3, story.sent, reply()));
  t.same(story.advance(2_000), ['1 > heartbeat a']);
});

t.test('a checkpoint of an attempt that fails goes ahead of its result, lines too (R26)', async (t) => {
  const story = new WorkerStory().ready();
  story.receive(give('a', 'b'));
  story.checkpoint('a', 1);
  story.checkpoint('b', 1);
  story.congested = true;
  t.same(story.line('a', 'last words'), []);
  t.same(story.finish('a', outcomes.error), ['1 > credit 5'], 'a slow connection: results wait');
  t.same(story.finish('b'), ['1 > credit 6']);
  story.congested = false;
  t.same(story.flush(), ['1 > lines last words', '1 > heartbeat a* ...', '1 > results a:BOOM b:output']);
});

t.test('cancel: the handler is told once; what it does then is the outcome (R50)', async (t) => {
  const story = new WorkerStory().ready({ cancelGraceMs: 3_000 });
  story.receive(give('a', 'b', 'c'));
  t.same(story.receive({ case: 'cancel', value: { leaseTokens: ['a', 'b', 'c', 'nobody'], reason: 'r' } }), [
    'abort a cancelled',
    'abort b cancelled',
    'abort c cancelled',
  ]);
  t.same(story.receive(reply({ cancel: ['a'] })), []);
  t.same(story.finish('a', outcomes.error), ['1 > results a:cancelled', '1 > credit 5']);
  t.same(story.finish('b'), ['1 > results b:output', '1 > credit 6'], 'it ended well all the same');
  t.same(story.advance(3_000), ['1 > heartbeat c', '1 > results c:cancelled'], 'and c never returns: no credit');
  t.same(story.finish('c'), ['1 > credit 7']);
});

t.test('run timeout: stopped, reported, its slot free when it returns (R25)', async (t) => {
  const story = new WorkerStory().ready();
  story.receive({
    case: 'assignments',
    value: { assignments: [assignment('a', { runTimeoutMs: 1_500n }), assignment('b', { runTimeoutMs: 60_000n })] },
  });
  t.same(story.advance(1_499), []);
  t.same(story.advance(1), ['abort a timeout', '1 > results a:TIMEOUT']);
  t.same(story.finish('a'), ['1 > credit 5']);
});

t.test('lost: stopped and forgotten, also when its result waits (R31, R42)', async (t) => {
  const story = new WorkerStory().ready();
  story.receive(give('a', 'b'));
  story.finish('b');
  t.same(story.receive(reply({ lost: ['a', 'b', 'nobody'] })), ['abort a lost']);
  t.same(story.finish('a'), ['1 > credit 6']);
  t.equal(story.session.ended.size, 0);
});

t.test('a result without an ack is sent again on the same connection (R40)', async (t) => {
  const story = new WorkerStory().ready();
  story.receive(give('a'));
  story.finish('a');
  t.same(live(story, 14_999), []);
  t.same(live(story, 1), ['1 > results a:output']);
  t.same(live(story, 15_000), ['1 > results a:output']);
});

t.test('each result is sent again in its own time, also after another one was (R40)', async (t) => {
  const story = new WorkerStory().ready();
  story.receive(give('a', 'b'));
  story.finish('a');
  live(story, 10_000);
  story.finish('b');
  t.same(live(story, 5_000), ['1 > results a:output']);
  t.same(live(story, 10_000), ['1 > results b:output']);
  t.same(live(story, 5_000), ['1 > results a:output']);
});

t.test('too many results without an ack: no more credit until acks come (R40)', async (t) => {
  const story = new WorkerStory({ workerResultsKept: 2 }).ready();
  story.receive(give('a', 'b', 'c'));
  t.same(story.finish('a'), ['1 > results a:output', '1 > credit 5']);
  t.same(story.finish('b'), ['1 > results b:output']);
  t.same(story.receive(acks('a')), ['1 > credit 6']);
});

t.test('a coordinator that falls silent is given up (R31)', async (t) => {
  const story = new WorkerStory().ready();
  const written = story.advance(8_000);
  t.same(written.slice(-2), ['close 1 4002', 'disconnected']);
  t.same(story.advance(50), ['connect 2 ws://one/workers']);
});

t.test('time in which this process stood still is not the coordinator’s silence', async (t) => {
  const story = new WorkerStory().ready();
  t.same(story.standStill(60_000), ['1 > heartbeat'], 'no goodbye');
  story.receive(reply());
  t.same(story.advance(1_999), []);
});

t.test('greeting: no connection, no Welcome, a refusal: the next address at once, a pause after each round (R14, R54)', async (t) => {
  const urls = ['ws://one/workers', 'ws://two/workers'];
  const silent = new WorkerStory({}, urls);
  silent.start();
  t.same(silent.advance(5_000), ['close 1 1001', 'connect 2 ws://two/workers'], 'no connection');
  silent.open();
  const written = silent.advance(10_000 + 50);
  t.same(written, [...Array(4).fill('2 > heartbeat'), 'close 2 4004', 'connect 3 ws://one/workers'], 'no Welcome');
  silent.open();
  const refusal = { code: 'WORKER_ID_TAKEN', message: 'taken', fatal: true };
  t.same(silent.receive({ case: 'error', value: refusal }), ['close 3 1001']);
  t.match(silent.notes.at(-1), /ws:\/\/one\/workers: refused: WORKER_ID_TAKEN: taken; trying ws:\/\/two\/workers/);
  t.same(silent.advance(0), ['connect 4 ws://two/workers']);
  silent.open();
  const wrong = '4 > error fatal UNEXPECTED_FRAME: the first frame was assignments, not welcome';
  t.same(silent.receive(give('a')), [wrong, 'close 4 1002'], 'the first frame was no Welcome');
});

t.test('the pause grows from 100 ms to 5 s, half of it by chance (R54)', async (t) => {
  const limits = workerLimits();
  t.same(
    [0, 1, 2, 5, 6, 1_000].map((failures) => reconnectDelayMs(failures, 0, false, limits)),
    [50, 100, 200, 1_600, 2_500, 2_500],
  );
  t.same(
    [0, 1, 2, 5, 6, 1_000].map((failures) => reconnectDelayMs(failures, 1, false, limits)),
    [100, 200, 400, 3_200, 5_000, 5_000],
  );
});

t.test('while leases may hold the pauses stay short; a coordinator that asks to wait is obeyed (R33, R54)', async (t) => {
  const story = new WorkerStory().ready();
  story.receive(give('a'));
  story.close();
  const brokenAt = story.now;
  let tries = 0;
  while (story.now - brokenAt < 2_000) {
    for (const line of story.advance(10)) {
      if (!line.startsWith('connect')) continue;
      tries += 1;
      story.close();
    }
  }
  t.ok(tries >= 10, `${tries} tries in the grace`);
  story.advance(10_000);
  const asked = new WorkerStory();
  asked.start();
  asked.do(() => closed(asked.session, 1, 'refused with HTTP 503', 1_000, asked.now));
  t.same(asked.advance(999), []);
  t.same(asked.advance(1), ['connect 2 ws://one/workers']);
});

t.test('one active, one standby: rounds over the addresses, a pause between rounds only (R54)', async (t) => {
  const urls = ['ws://one/workers', 'ws://two/workers', 'ws://three/workers'];
  const story = new WorkerStory({}, urls);
  const refuse = (link: number, retryAfterMs = 0) =>
    story.do(() => closed(story.session, link, 'refused with HTTP 503: it stands by', retryAfterMs, story.now));
  t.same(story.start(), ['connect 1 ws://one/workers']);
  refuse(1, 400);
  t.same(story.advance(0), ['connect 2 ws://two/workers'], 'one stands by: the next at once, whatever pause it asked for');
  refuse(2, 300);
  t.same(story.advance(0), ['connect 3 ws://three/workers']);
  story.close();
  t.match(story.notes, [/one.* 503: it stands by; trying ws:\/\/two/, /two.*; trying ws:\/\/three/, /three.*; connecting again in 400 ms/]);
  t.same(story.advance(399), [], 'the longest pause that was asked for');
  t.same(story.advance(1), ['connect 4 ws://one/workers']);
  refuse(4);
  t.same(story.advance(0), ['connect 5 ws://two/workers']);
  story.open();
  t.same(story.receive({ case: 'welcome', value: { sessionId: 's1' } }), ['welcomed s1', '5 > credit 4']);

  story.close();
  t.same(story.advance(50), ['connect 6 ws://two/workers'], 'lost: first the one that was active');
  story.close();
  t.same(story.advance(0), ['connect 7 ws://one/workers'], 'then the others in their order');
  story.open();
  story.receive({ case: 'welcome', value: { sessionId: 's2', coordinatorUrls: ['ws://four/workers'] } });
  story.close();
  t.same(story.advance(50), ['connect 8 ws://four/workers'], 'lost: first what the coordinator named');
  story.close();
  t.same(story.advance(0), ['connect 9 ws://one/workers'], 'then the one that was active');
  story.close();
  t.same(story.advance(0), ['connect 10 ws://two/workers']);
});

t.test('addresses that go on failing are told of now and then (R54)', async (t) => {
  const story = new WorkerStory({}, ['ws://one/workers', 'ws://two/workers']);
  story.start();
  for (let round = 0; round < 1_000; round += 1) {
    story.close();
    story.advance(0);
    story.close();
    story.advance(5_000);
  }
  t.ok(story.notes.length <= 22, `${story.notes.length} lines for 2000 failures`);
  t.match(story.notes.at(-1), /ws:\/\/two\/workers: closed with 1006; connecting again/);
});

t.test('numbers: doubles, gaps, unreadable frames, unknown bodies (R5, R7, R8)', async (t) => {
  const story = new WorkerStory().ready();
  story.receive(give('a'));
  t.same(story.receiveFrame(coordinatorFrame(2, 0, give('b'))), [], 'a double');
  t.same(story.receive({ case: undefined }), ['1 > error UNEXPECTED_FRAME: frame 3 has no body that protocol 1 knows']);
  t.same(story.receiveUnreadable(), ['1 > error BAD_FRAME: no frame']);
  const gap = '1 > error fatal BAD_FRAME: frame 6 came where 4 was expected: frames were lost';
  t.same(story.receiveFrame(coordinatorFrame(6, 0, give('b'))), [gap, 'close 1 1002', 'disconnected'], 'a gap');
  const boasted = new WorkerStory().ready();
  const boast = '1 > error fatal BAD_FRAME: frame 2 acknowledges 99, but only 2 were sent';
  t.same(
    boasted.receiveFrame(coordinatorFrame(2, 99, give('b'))),
    [boast, 'close 1 1002', 'disconnected'],
    'an ack of what was never sent',
  );
  const flooded = new WorkerStory().ready();
  for (let i = 1; i < 100; i += 1) flooded.receiveUnreadable();
  const last = '1 > error fatal LIMIT_EXCEEDED: 100 bad frames; the last: no frame';
  t.same(flooded.receiveUnreadable(), [last, 'close 1 1002', 'disconnected']);
  const greeting = new WorkerStory();
  greeting.start();
  greeting.open();
  t.same(greeting.receiveUnreadable(), ['1 > error fatal BAD_FRAME: no frame', 'close 1 1002']);
});

t.test('GoAway: connects elsewhere first, uses the old connection meanwhile, then leaves it (R53)', async (t) => {
  const story = new WorkerStory().ready({ coordinatorUrls: ['ws://two/workers', 'no url at all'] });
  story.receive(give('a', 'b'));
  story.receive({ case: 'goAway', value: { reason: 'restart', reconnectDelayMs: 500 } });
  t.same(story.advance(499), []);
  t.same(story.advance(1), ['connect 2 ws://two/workers']);
  t.same(story.finish('a'), ['1 > results a:output', '1 > credit 5'], 'still the old one');
  t.same(story.open(), ['2 > hello b a!']);
  t.same(story.receive({ case: 'welcome', value: { sessionId: 's2' } }), [
    'close 1 1001',
    'welcomed s2',
    '2 > results a:output',
    '2 > credit 3',
  ]);
});

t.test('GoAway: the old connection ends before the new one is there, or the new one fails (R53)', async (t) => {
  const early = new WorkerStory().ready();
  early.receive({ case: 'goAway', value: { reason: 'restart' } });
  t.same(early.advance(0), ['connect 2 ws://one/workers']);
  t.same(early.close(1), ['disconnected']);
  early.open();
  t.same(early.receive({ case: 'welcome', value: { sessionId: 's2' } }), ['welcomed s2', '2 > credit 4']);

  const failing = new WorkerStory().ready();
  failing.receive({ case: 'goAway', value: { reason: 'restart' } });
  failing.advance(0);
  t.same(failing.close(2), [], 'the new one failed; the old one goes on');
  t.same(failing.advance(50), ['connect 3 ws://one/workers']);
});

t.test('drain: no more work, what runs is finished and delivered, then the end (R51)', async (t) => {
  const story = new WorkerStory().ready();
  story.receive(give('a'));
  t.same(story.drain(), ['1 > drain (SIGTERM)']);
  t.same(story.receive(give('b')), ['1 > replies b:no (draining)']);
  t.same(story.finish('a'), ['1 > results a:output']);
  t.same(story.receive(acks('a')), ['close 1 1000', 'ended (SIGTERM)']);
});

t.test('drain: also by the coordinator, also across a broken connection, at once when idle (R51, R52)', async (t) => {
  const asked = new WorkerStory().ready();
  t.same(asked.receive({ case: 'drain', value: { reason: 'upgrade' } }), ['1 > drain (upgrade)', 'close 1 1000', 'ended (upgrade)']);

  const broken = new WorkerStory().ready();
  broken.receive(give('a'));
  broken.drain();
  broken.finish('a');
  broken.close();
  t.same(broken.advance(50), ['connect 2 ws://one/workers']);
  broken.open();
  t.same(broken.receive({ case: 'welcome', value: { sessionId: 's2' } }), ['welcomed s2', '2 > results a:output', '2 > drain (SIGTERM)']);
  t.same(broken.receive(acks('a')), ['close 2 1000', 'ended (SIGTERM)']);

  t.same(new WorkerStory().drain(), ['ended (SIGTERM)'], 'never started');
  const offline = new WorkerStory();
  offline.start();
  t.same(offline.drain(), ['close 1 1000', 'ended (SIGTERM)'], 'never connected');
});

t.test('stop: waits for the grace, then stops handlers and leaves the rest to the coordinator (R34)', async (t) => {
  const story = new WorkerStory().ready();
  story.receive(give('a', 'b'));
  story.finish('a');
  story.stop(1_000);
  t.same(story.advance(999), []);
  t.same(story.advance(1), ['abort b stopping', 'close 1 1000', 'ended (SIGTERM)']);
  t.match(story.notes.at(-1), /stopped before 1 attempts had ended and 1 results were acked/);
  t.same(story.finish('b'), []);
});

t.test('log: bounded, counted, never in the way (R60)', async (t) => {
  const story = new WorkerStory({ logBytesPerAttempt: 10 }).ready();
  story.receive(give('a'));
  t.same(story.line('a', '12345'), ['1 > lines 12345']);
  t.same(story.line('a', '123456'), [], 'too much');
  t.same(story.line('a', '1'), ['1 > lines 1']);
  t.same(story.line('a', '123456'), []);
  t.same(story.finish('a'), ['1 > lines lines were dropped: too much log', '1 > results a:output', '1 > credit 5']);
  t.same(story.line('a', 'afterwards'), []);

  const offline = new WorkerStory({ workerLogBytes: 400 }).ready();
  offline.receive(give('a'));
  offline.close();
  for (const word of ['one', 'two', 'three']) offline.line('a', word);
  offline.advance(50);
  offline.open();
  t.same(offline.receive({ case: 'welcome', value: { sessionId: 's2' } }), ['welcomed s2', '2 > lines one | two', '2 > credit 3']);
  t.same(offline.line('a', 'four'), ['2 > lines four']);
});

t.test('what does not fit into a frame goes into several: Hello, heartbeats, results (R4, R10, R30)', async (t) => {
  const limits = { frameBytes: 2_048 };
  const story = new WorkerStory(limits).ready();
  story.receive(give('a', 'b', 'c', 'd'));
  for (const token of ['a', 'b', 'c', 'd']) story.checkpoint(token, 'x'.repeat(800));
  t.same(story.advance(2_000), ['1 > heartbeat a* b* ...', '1 > heartbeat c* d*']);
  story.congested = true;
  for (const token of ['a', 'b', 'c', 'd']) story.finish(token, { kind: 'succeeded', output: new Uint8Array(800) });
  story.congested = false;
  t.same(story.flush(), ['1 > results a:output b:output', '1 > results c:output d:output']);
  const long = new WorkerStory({ frameBytes: 512 }).ready();
  long.receive(give('a', 'b', 'c', 'd'));
  long.close();
  long.advance(50);
  t.same(long.open(), ['2 > hello a b ...', '2 > hello c d']);
});

t.test('an output that is too large fails the attempt, not the connection (R43)', async (t) => {
  const story = new WorkerStory().ready();
  story.receive(give('a'));
  t.same(story.finish('a', { kind: 'succeeded', output: new Uint8Array(256 * 1024 + 1) }), [
    '1 > results a:OUTPUT_TOO_LARGE',
    '1 > credit 5',
  ]);
});
