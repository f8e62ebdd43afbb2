/**
 * What a coordinator sends: bytes into a real worker session, as its socket reads them.
 *
 * What must hold: nothing throws; never more handlers than slots; what leaves can be written and is no larger than a frame may be; more is never granted
 * than there are free slots; an error that is sent has a code and a message; the machine asks for an alarm while it lives.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { CoordinatorFrameSchema, WorkerFrameSchema } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import { beat, checkpoint, progress, writeLine } from '../../../worker/session/from-handler.ts';
import * as machine from '../../../worker/session/session.ts';
import { newWorkerSession, type WorkerOutput } from '../../../worker/session/state.ts';
import { workerLimits } from '../../../worker/session/worker-limits.ts';
import type { Random } from '../../engine-support/random.ts';
import { assignment, coordinatorFrame, json } from '../../stream-support/frames.ts';
import { outcomes, profile } from '../../stream-support/worker-story.ts';
import { Broken, type Outcome, shapeOf, type Target } from '../target.ts';
import { damaged, readSteps, type Step, writeSteps } from './stream-input.ts';

/** The target. */
export function coordinatorFramesTarget(): Target {
  const words = [
    ...tokens,
    'noop',
    'big',
    'ws://two/workers',
    '\x0a\x00',
    '\x12\x00',
    '\x22\x02\x0a\x00',
    '\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01',
  ];
  return { name: 'coordinator-frames', seeds, generate, words, isText: false, mostBytes: 128 * 1024, run, close: async () => {} };
}

/** A worker, its connections and its handlers. */
class World {
  now = 1_000_000;
  readonly features = new Set<string>();
  readonly session = newWorkerSession(profile, ['ws://one/workers', 'ws://two/workers'], workerLimits(), () => 0.5);
  readonly #handlers = new Set<string>();
  #link = 0;
  #alarmAt: number | null = null;
  #isAwake = false;
  #received = 0;

  begin(): void {
    this.#perform(machine.start(this.session, this.now));
    this.#settle();
  }

  do(step: Step): void {
    const { session } = this;
    switch (step.kind) {
      case 'frame':
      case 'numbered':
        this.#receive(step.bytes, step.kind === 'numbered');
        break;
      case 'wait':
        this.now += step.ms;
        if (this.#alarmAt === null || this.#alarmAt > this.now) break;
        this.#alarmAt = null;
        this.#perform(machine.tick(session, this.now));
        break;
      case 'work':
        this.#work(step.choice);
        break;
      case 'close':
        this.#perform(machine.closed(session, this.#link, `closed with ${step.code}`, step.code % 7 === 0 ? 1_000 : 0, this.now));
        break;
      case 'text':
        this.#perform(machine.receiveUnreadable(session, this.#link, 'a text message came; frames are binary', this.now));
        break;
      default:
        step satisfies never;
    }
    this.#settle();
  }

  #receive(bytes: Uint8Array, isNumbered: boolean): void {
    try {
      // As `worker/socket.ts` reads it.
      const frame = fromBinary(CoordinatorFrameSchema, bytes, { readUnknownFields: false });
      if (isNumbered) {
        frame.seq = BigInt(this.#received + 1);
        frame.ack = 0n;
      }
      if (Number(frame.seq) === this.#received + 1) this.#received += 1;
      this.features.add(`came ${frame.body.case}`);
      this.#perform(machine.receive(this.session, this.#link, frame, this.now));
    } catch (error) {
      if (!isDecodeError(error)) throw error;
      this.#perform(
        machine.receiveUnreadable(this.session, this.#link, `the bytes are no CoordinatorFrame: ${(error as Error).message}`, this.now),
      );
    }
  }

  /** The handlers get on. */
  #work(choice: number): void {
    const { session, now } = this;
    const token = [...this.#handlers][choice % Math.max(1, this.#handlers.size)];
    if (token === undefined) return;
    if (choice % 5 === 1) beat(session, token, now);
    else if (choice % 5 === 2) progress(session, token, choice / 100, 'half', now);
    else if (choice % 5 === 3) checkpoint(session, token, json({ at: choice }), now);
    else if (choice % 5 === 4) writeLine(session, token, 'info', 'x'.repeat(choice), now);
    else {
      this.#handlers.delete(token);
      this.#perform(machine.finish(session, token, choice % 2 === 0 ? outcomes.ok : outcomes.error, now));
    }
  }

  #settle(): void {
    for (let i = 0; i < 3 && this.#isAwake; i++) {
      this.#isAwake = false;
      this.#perform(machine.flush(this.session, this.now, false));
    }
    const { running, lingering, phase, draining } = this.session;
    if (running.size + lingering.size > profile.slots) throw new Broken('more handlers run than there are slots');
    if (this.#alarmAt === null && phase.kind !== 'closed' && draining === null) throw new Broken(`no alarm while ${phase.kind}`);
  }

  #perform(outputs: readonly WorkerOutput[]): void {
    for (const output of outputs) {
      switch (output.kind) {
        case 'connect':
          this.#link = output.link;
          this.#received = 0;
          this.#perform(machine.opened(this.session, output.link, this.now));
          break;
        case 'send':
          this.#check(output);
          break;
        case 'run':
          this.#handlers.add(output.assignment.leaseToken);
          break;
        case 'abort':
          this.features.add(`abort ${output.reason.kind}`);
          break;
        case 'wake':
          this.#isAwake = true;
          break;
        case 'alarm':
          if (Number.isNaN(output.at)) throw new Broken('an alarm at no time');
          this.#alarmAt = output.at;
          break;
        case 'note':
          // The rest of a note is often the input's own words.
          this.features.add(`${output.level} ${shapeOf(output.message).slice(0, 30)}`);
          break;
        case 'close':
          this.features.add(`close ${output.code} ${shapeOf(output.reason).slice(0, 30)}`);
          break;
        case 'welcomed':
        case 'acknowledged':
        case 'disconnected':
        case 'ended':
          this.features.add(output.kind);
          break;
        default:
          output satisfies never;
      }
    }
  }

  #check({ frame }: Extract<WorkerOutput, { kind: 'send' }>): void {
    const bytes = toBinary(WorkerFrameSchema, frame);
    if (bytes.length > limits.frameBytes) throw new Broken(`a frame of ${bytes.length} bytes is sent`);
    this.features.add(`sent ${frame.body.case}`);
    if (frame.body.case !== 'error') return;
    const { code, message } = frame.body.value;
    if (code === '' || message === '') throw new Broken('an error says nothing');
    this.features.add(`error ${code} ${shapeOf(message)}`);
  }
}

/** Errors of the decoder, told by where they were made. */
function isDecodeError(error: unknown): boolean {
  return error instanceof Error && /[\\/]@bufbuild[\\/]protobuf[\\/]/.test(error.stack?.split('\n').slice(1, 3).join() ?? '');
}

function run(input: Uint8Array): Outcome {
  const world = new World();
  world.begin();
  for (const step of readSteps(input)) world.do(step);
  const { running, ended, phase } = world.session;
  world.features.add(`${phase.kind} running ${running.size} ended ${ended.size}`);
  return { features: [...world.features], kept: world };
}

const tokens = ['1.1.a', '1.2.b', '1.3.c', 'x'.repeat(300), ''];

type Body = Parameters<typeof coordinatorFrame>[2];

function numbered(body: Body): Step {
  return { kind: 'numbered', bytes: toBinary(CoordinatorFrameSchema, coordinatorFrame(1, 0, body)) };
}

const welcome = numbered({ case: 'welcome', value: { sessionId: 's1', coordinatorId: 'c1', protocol: 1 } });

function seeds(): Uint8Array[] {
  const assigned = numbered({ case: 'assignments', value: { assignments: tokens.slice(0, 3).map((token) => assignment(token)) } });
  const acked = numbered({ case: 'resultAcks', value: { acks: [{ leaseToken: tokens[0], verdict: 1 }] } });
  return [
    writeSteps([welcome, assigned, { kind: 'work', choice: 0 }, acked]),
    writeSteps([
      welcome,
      assigned,
      numbered({ case: 'cancel', value: { leaseTokens: [tokens[1]], reason: 'enough' } }),
      { kind: 'wait', ms: 11_000 },
    ]),
    writeSteps([welcome, numbered({ case: 'goAway', value: { reason: 'bye', reconnectDelayMs: 10 } }), { kind: 'wait', ms: 20 }, welcome]),
    writeSteps([
      welcome,
      assigned,
      numbered({ case: 'heartbeatReply', value: { lost: [tokens[0]], cancel: [tokens[1]] } }),
      { kind: 'close', code: 1006 },
    ]),
    writeSteps([numbered({ case: 'error', value: { code: 'WORKER_ID_TAKEN', message: 'taken', fatal: true } })]),
    writeSteps([welcome, assigned, numbered({ case: 'drain', value: { reason: 'now' } })]),
  ];
}

function bodyOf(random: Random): Body {
  const token = () => random.pick(tokens);
  const some = <T>(make: () => T): T[] => Array.from({ length: random.below(random.chance(0.03) ? 2_000 : 5) }, make);
  const number = () => random.pick([0, 1, 10, 5_000, 2 ** 31, 2 ** 32 - 1]);
  const long = () => random.pick([0n, 1n, 60_000n, 2n ** 53n, 2n ** 64n - 1n]);
  const text = () => random.pick(['', 'x', 'é'.repeat(600), 'a\nb']);
  switch (random.below(9)) {
    case 0:
      return {
        case: 'welcome',
        value: {
          sessionId: text(),
          protocol: number(),
          heartbeatIntervalMs: number(),
          leaseMs: number(),
          maxFrameBytes: number(),
          maxLogBytes: number(),
          cancelGraceMs: number(),
          verdicts: some(() => ({ leaseToken: token(), verdict: random.below(6) as never })),
          coordinatorUrls: some(() => random.pick(['ws://two/workers', 'http://x', '', 'nonsense', 'ws://[::1]:99999'])),
        },
      };
    case 1:
    case 2:
    case 3: {
      const made = () =>
        assignment(token(), {
          type: random.pick(['noop', 'big', 'other', '']),
          runTimeoutMs: long(),
          heartbeatTimeoutMs: long(),
          maxAttempts: number(),
        });
      return { case: 'assignments', value: { assignments: some(made) } };
    }
    case 4:
      return { case: 'heartbeatReply', value: { lost: some(token), cancel: some(token) } };
    case 5:
      return {
        case: 'resultAcks',
        value: { acks: some(() => ({ leaseToken: token(), verdict: random.below(7) as never, durability: random.below(5) as never })) },
      };
    case 6:
      return { case: 'cancel', value: { leaseTokens: some(token), reason: text() } };
    case 7:
      return { case: 'goAway', value: { reason: text(), reconnectDelayMs: number() } };
    default:
      return random.chance(0.3)
        ? { case: 'drain', value: { reason: text() } }
        : { case: 'error', value: { code: text(), message: text(), fatal: random.chance(0.5) } };
  }
}

function generate(random: Random): Uint8Array {
  const steps: Step[] = random.chance(0.85) ? [welcome] : [];
  for (let i = random.below(12); i >= 0; i--) {
    const frame = create(CoordinatorFrameSchema, {
      seq: BigInt(random.below(9)),
      ack: BigInt(random.below(3)),
      body: bodyOf(random) as never,
    });
    const bytes = toBinary(CoordinatorFrameSchema, frame);
    const dice = random.below(20);
    if (dice < 10) steps.push({ kind: 'numbered', bytes });
    else if (dice < 12) steps.push({ kind: 'numbered', bytes: damaged(bytes, random) });
    else if (dice < 13) steps.push({ kind: 'frame', bytes: damaged(bytes, random) });
    else if (dice < 15) steps.push({ kind: 'wait', ms: random.pick([16, 900, 2_100, 5_100, 8_100, 60_000, 1_000_000]) });
    else if (dice < 18) steps.push({ kind: 'work', choice: random.below(0x10000) });
    else if (dice < 19) steps.push({ kind: 'close', code: random.pick([1000, 1001, 1006, 4000]) });
    else steps.push({ kind: 'text' });
  }
  return writeSteps(steps);
}
