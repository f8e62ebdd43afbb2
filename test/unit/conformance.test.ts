/**
 * The conformance kit's judgement over histories written by hand: what takes too long to plant, and that duties and checkers belong together.
 */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { CoordinatorFrameSchema, WorkerFrameSchema } from '@workflow-orchestrator/proto';
import t from 'tap';
import { checkers, readDuties } from '../conformance/duties.ts';
import type { Entry, Happening } from '../conformance/history.ts';
import { reportLines } from '../conformance/report.ts';
import { workScripts } from '../conformance/scripts/work.ts';
import { judge } from '../conformance/verdict.ts';
import { assignment, hello, result } from '../stream-support/frames.ts';

type Said = NonNullable<MessageInitShape<typeof WorkerFrameSchema>['body']>;
type Told = NonNullable<MessageInitShape<typeof CoordinatorFrameSchema>['body']>;

/** A history of one connection: what happens after how many milliseconds. */
class Tale {
  readonly entries: Entry[] = [];
  #seqIn = 0n;
  #seqOut = 0n;
  constructor() {
    this.add(0, { kind: 'started', workerId: 'w1', slots: 4 }, 0);
    this.add(1, { kind: 'request', path: '/workers', protocols: ['workflow.worker.v1'], status: 101, retryAfterMs: 0 });
  }
  add(at: number, happening: Happening, link = 1): this {
    this.entries.push({ ...happening, index: this.entries.length, at, link } as Entry);
    return this;
  }
  worker(at: number, body: Said): this {
    this.#seqIn += 1n;
    const frame = create(WorkerFrameSchema, { seq: this.#seqIn, ack: this.#seqOut, body });
    return this.add(at, { kind: 'in', bytes: 10, frame, problem: '' });
  }
  coordinator(at: number, body: Told): this {
    this.#seqOut += 1n;
    return this.add(at, { kind: 'out', frame: create(CoordinatorFrameSchema, { seq: this.#seqOut, ack: this.#seqIn, body }), what: '' });
  }
  verdict(duty: string): string {
    const verdicts = judge([{ name: 'tale', entries: this.entries }], readDuties(), checkers);
    return verdicts.find((verdict) => verdict.duty.number === duty)!.kind;
  }
}

const welcome: Told = {
  case: 'welcome',
  value: { sessionId: 's', heartbeatIntervalMs: 2_000, leaseMs: 60_000, maxFrameBytes: 1_000_000, assignReplyMs: 2_000 },
};
const results: Said = { case: 'results', value: { results: [result('a')] } };

t.test('each duty of PROTOCOL.md has a checker, each checker a duty, and the numbers have no gap', async (t) => {
  const numbers = readDuties().map(({ number }) => number);
  t.same(
    numbers,
    numbers.map((_, index) => `W${index + 1}`),
  );
  t.same(Object.keys(checkers).sort(), [...numbers].sort());
});

t.test('W14: a Welcome that does not come is waited for 10 s, and the code is 4004', async (t) => {
  const greeted = () => new Tale().worker(10, hello());
  t.equal(greeted().add(10_050, { kind: 'closed', code: 4004, reason: '' }).verdict('W14'), 'PASS');
  t.equal(greeted().add(10_050, { kind: 'closed', code: 1001, reason: '' }).verdict('W14'), 'FAIL', 'another code');
  t.equal(greeted().add(4_000, { kind: 'closed', code: 4004, reason: '' }).verdict('W14'), 'FAIL', 'too early');
  t.equal(greeted().add(20_000, { kind: 'exited', code: 0, signal: null }, 0).verdict('W14'), 'FAIL', 'never');
  t.equal(greeted().coordinator(9_000, welcome).verdict('W14'), 'NOT SHOWN');
});

t.test('W32: a result that is not acked for 15 s is sent again', async (t) => {
  const sent = () =>
    new Tale()
      .worker(10, hello())
      .coordinator(20, welcome)
      .coordinator(30, { case: 'assignments', value: { assignments: [assignment('a')] } })
      .worker(40, { case: 'assignReplies', value: { replies: [{ leaseToken: 'a', accepted: true }] } })
      .worker(50, results);
  const end: Happening = { kind: 'exited', code: 0, signal: null };
  t.equal(sent().worker(15_060, results).add(18_000, end, 0).verdict('W32'), 'PASS');
  t.equal(sent().add(18_000, end, 0).verdict('W32'), 'FAIL');
  t.equal(sent().add(16_000, end, 0).verdict('W32'), 'NOT SHOWN', 'there was no time for it');
  t.equal(sent().worker(15_060, results).add(18_000, end, 0).verdict('W31'), 'NOT SHOWN', 'that is no doubled sending');
  t.equal(sent().worker(9_000, results).add(18_000, end, 0).verdict('W31'), 'FAIL', 'this is');
});

t.test('time in which the kit stood still is not the worker’s', async (t) => {
  const late = () => new Tale().worker(10, hello()).coordinator(20, welcome).worker(2_000, { case: 'heartbeat', value: {} });
  const beat: Said = { case: 'heartbeat', value: {} };
  t.equal(late().worker(9_000, beat).worker(11_000, beat).verdict('W24'), 'FAIL');
  const stalled: Happening = { kind: 'stalled', ms: 5_000 };
  t.equal(late().add(8_900, stalled, 0).worker(9_000, beat).worker(11_000, beat).verdict('W24'), 'PASS');
});

t.test('the report: a line for each duty, the reason and the frames of a fault, sessions that did not end', async (t) => {
  const tale = new Tale()
    .worker(10, hello())
    .coordinator(20, welcome)
    .worker(30, { case: 'credit', value: { granted: 9n } });
  const history = { name: 'jobs', entries: tale.entries };
  const session = { script: workScripts[0]!, history, stuck: 'waited 8000 ms in vain for credit', output: 'Traceback\n' };
  const lines = reportLines(judge([history], readDuties(), checkers), [session]);
  t.match(
    lines.find((line) => line.startsWith('W17')),
    /^W17 {2}FAIL .* grants what it received/,
  );
  t.ok(lines.includes('W17 FAIL in session jobs: granted 9: 0 were assigned, and 0 of 4 slots are taken, so at most 4'));
  t.ok(lines.includes('        30 ms #1 worker      > 2/1 credit 9'));
  t.match(
    lines.join('\n'),
    /session jobs did not come to its end: waited 8000 ms in vain for credit\n {2}the program printed:\n {4}Traceback/,
  );
  t.match(lines.at(-1), /^\d+ duties PASS, 1 FAIL, \d+ NOT SHOWN; 0 of 1 sessions came to their end$/);
});
