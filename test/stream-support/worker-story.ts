/**
 * The worker's end with a clock that stands still until it is told, and a coordinator that is the test itself: every step gives back what it led to, as lines.
 */
import { type CoordinatorFrame, ResultAck_Verdict } from '@workflow-orchestrator/proto';
import { beat, checkpoint, progress, writeLine } from '../../worker/session/from-handler.ts';
import { failure, type Outcome } from '../../worker/session/outcome.ts';
import * as machine from '../../worker/session/session.ts';
import { newWorkerSession, type Profile, type WorkerOutput, type WorkerSession } from '../../worker/session/state.ts';
import { type WorkerLimits, workerLimits } from '../../worker/session/worker-limits.ts';
import { coordinatorFrame, json, sayWorkerFrame } from './frames.ts';

type Body = Parameters<typeof coordinatorFrame>[2];

/** Four slots, `noop` in all of them, `big` in one. */
export const profile: Profile = {
  workerId: 'w1',
  instanceId: 'i1',
  build: '',
  sdk: 'test',
  labels: {},
  slots: 4,
  capabilities: [
    { $typeName: 'workflow.v1.Capability', type: 'noop', slots: 0 },
    { $typeName: 'workflow.v1.Capability', type: 'big', slots: 1 },
  ],
};

/** How a handler ends, in a word. */
export const outcomes = {
  ok: { kind: 'succeeded', output: json('done') },
  error: { kind: 'failed', error: failure('BOOM', 'it went wrong', true) },
} as const satisfies Record<string, Outcome>;

/** One worker. */
export class WorkerStory {
  now = 1_000_000;
  readonly session: WorkerSession;
  readonly notes: string[] = [];
  /** Results whose verdict came, `token verdict`. */
  readonly acknowledged: string[] = [];
  /** Whether the connection is slow. */
  congested = false;
  /** Frames that were sent on the newest link. */
  sent = 0;
  #received = 0;
  #alarmAt: number | null = null;
  #isAwake = false;
  #written: string[] = [];
  #link = 0;

  constructor(limits: Partial<WorkerLimits> = {}, urls: readonly string[] = ['ws://one/workers'], random = 0) {
    this.session = newWorkerSession(profile, urls, workerLimits(limits), () => random);
  }

  start(): string[] {
    return this.do(() => machine.start(this.session, this.now));
  }

  /** Connected, greeted and welcomed. */
  ready(welcome: Extract<Body, { case: 'welcome' }>['value'] = {}): this {
    this.start();
    this.open();
    this.receive({ case: 'welcome', value: { sessionId: 's1', ...welcome } });
    return this;
  }

  /** The newest connection is there. */
  open(link = this.#link): string[] {
    this.#received = 0;
    return this.do(() => machine.opened(this.session, link, this.now));
  }

  close(link = this.#link): string[] {
    return this.do(() => machine.closed(this.session, link, 'closed with 1006', 0, this.now));
  }

  /** The next frame of the coordinator on the newest connection. */
  receive(body: Body): string[] {
    this.#received += 1;
    return this.receiveFrame(coordinatorFrame(this.#received, 0, body));
  }

  receiveFrame(frame: CoordinatorFrame, link = this.#link): string[] {
    return this.do(() => machine.receive(this.session, link, frame, this.now));
  }

  receiveUnreadable(): string[] {
    return this.do(() => machine.receiveUnreadable(this.session, this.#link, 'no frame', this.now));
  }

  finish(token: string, outcome: Outcome = outcomes.ok): string[] {
    return this.do(() => machine.finish(this.session, token, outcome, this.now));
  }

  drain(): string[] {
    return this.do(() => machine.drain(this.session, 'SIGTERM', this.now));
  }

  stop(graceMs: number): string[] {
    return this.do(() => machine.stop(this.session, 'SIGTERM', graceMs, this.now));
  }

  progress(token: string, fraction: number, message = ''): boolean {
    return progress(this.session, token, fraction, message, this.now);
  }

  beat(token: string): boolean {
    return beat(this.session, token, this.now);
  }

  checkpoint(token: string, value: unknown): boolean {
    return checkpoint(this.session, token, json(value), this.now);
  }

  line(token: string, message: string): string[] {
    return this.do(() => (writeLine(this.session, token, 'info', message, this.now) ? [{ kind: 'wake' }] : []));
  }

  /** The connection can take more. */
  flush(): string[] {
    return this.do(() => [{ kind: 'wake' }]);
  }

  advance(ms: number): string[] {
    const until = this.now + ms;
    const written: string[] = [];
    while (this.#alarmAt !== null && this.#alarmAt <= until) {
      this.now = Math.max(this.now, this.#alarmAt);
      written.push(...this.#tick());
    }
    this.now = until;
    return written;
  }

  /** This process stands still; then its alarm fires, late. */
  standStill(ms: number): string[] {
    this.now += ms;
    return this.#tick();
  }

  #tick(): string[] {
    this.#alarmAt = null;
    return this.do(() => machine.tick(this.session, this.now));
  }

  do(step: () => readonly WorkerOutput[]): string[] {
    this.#written = [];
    this.#perform(step());
    if (this.#isAwake) {
      this.#isAwake = false;
      this.#perform(machine.flush(this.session, this.now, this.congested));
    }
    return this.#written;
  }

  #perform(outputs: readonly WorkerOutput[]): void {
    for (const output of outputs) {
      switch (output.kind) {
        case 'connect':
          this.#link = output.link;
          this.#written.push(`connect ${output.link} ${output.url}`);
          break;
        case 'send':
          this.sent = Number(output.frame.seq);
          this.#written.push(`${output.link} > ${sayWorkerFrame(output.frame)}`);
          break;
        case 'close':
          this.#written.push(`close ${output.link} ${output.code}`);
          break;
        case 'run':
          this.#written.push(`run ${output.assignment.leaseToken}`);
          break;
        case 'abort':
          this.#written.push(`abort ${output.leaseToken} ${output.reason.kind}`);
          break;
        case 'wake':
          this.#isAwake = true;
          break;
        case 'alarm':
          this.#alarmAt = output.at;
          break;
        case 'welcomed':
          this.#written.push(`welcomed ${output.sessionId}`);
          break;
        case 'disconnected':
          this.#written.push('disconnected');
          break;
        case 'acknowledged':
          this.acknowledged.push(
            `${output.result.leaseToken} ${Object.entries(ResultAck_Verdict).find(([, verdict]) => verdict === output.verdict)?.[0]}`,
          );
          break;
        case 'ended':
          this.#written.push(`ended (${output.reason})`);
          break;
        case 'note':
          this.notes.push(output.message);
          break;
        default:
          output satisfies never;
      }
    }
  }
}
