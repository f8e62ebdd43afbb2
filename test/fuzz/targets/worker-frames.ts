/**
 * What a worker sends: bytes through the decoder of the coordinator into a real session, and behind it a real shard with a workflow that has work for it.
 *
 * What must hold: nothing throws and the shard goes on; every frame that leaves can be written, is numbered without a gap and is no larger than a frame may
 * be; no more is assigned than was granted; an error that is sent has a code and a message; nothing of the session stays in the roster when it was lost.
 */
import { create, toBinary } from '@bufbuild/protobuf';
import { compile } from '@workflow-orchestrator/engine/definition';
import { type CoordinatorFrame, type WorkerFrame, WorkerFrameSchema } from '@workflow-orchestrator/proto';
import { Logs } from '../../../coordinator/api/services/logs.ts';
import { decodeFrame, encodeFrame } from '../../../coordinator/gateway/frame-codec.ts';
import { type Connection, createHub, type Hub, type Link } from '../../../coordinator/gateway/hub.ts';
import { streamLimits } from '../../../coordinator/gateway/session/limits.ts';
import type { Shard } from '../../../coordinator/shard/shard.ts';
import { json as jsonPayload } from '../../engine-support/graphs.ts';
import type { Random } from '../../engine-support/random.ts';
import { VirtualPorts } from '../../shard-support/ports.ts';
import { hello, json, workerFrame } from '../../stream-support/frames.ts';
import { Broken, type Outcome, shapeOf, type Target } from '../target.ts';
import { damaged, readSteps, type Step, writeSteps } from './stream-input.ts';
import { openVirtualShard, runUntil } from './virtual-shard.ts';

const limits = streamLimits();

const graph = (() => {
  const compiled = compile(`workflow:
  name: w
  jobs:
    - { id: a, type: noop, on_success: d, retry: { max_attempts: 3, initial_delay: 1s } }
    - { id: b, type: noop, timeout: 20s, timeouts: { heartbeat: 10s } }
    - { id: c, type: noop, outputs_schema: { type: object } }
    - { id: d, type: noop, parameters: { rows: "\${{ jobs.a.output.rows }}" }, if: size(jobs.a.output.rows) > 0 }
`);
  if (compiled.kind === 'bad') throw new Error(compiled.problems[0].message);
  return compiled.graph;
})();

/** The target. */
export function workerFramesTarget(): Target {
  const words = [...tokens, 'noop', 'w1', 'i1', '\x0a\x00', '\x12\x00', '\x3a\x02\x0a\x00', '\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01'];
  return { name: 'worker-frames', seeds, generate, words, isText: false, mostBytes: 128 * 1024, run, close: async () => {} };
}

/** The coordinator, and one connection to it. */
class World {
  readonly ports = new VirtualPorts();
  readonly features = new Set<string>();
  readonly hub: Hub;
  readonly logs = new Logs();
  readonly shard: Shard;
  connection: Connection;
  #alarmAt: number | null = null;
  #isAwake = false;
  #sent = 0;
  #received = 0;
  #granted = 0n;
  #assigned = 0;

  private constructor(shard: Shard, ports: VirtualPorts) {
    this.shard = shard;
    this.ports = ports;
    let sessions = 0;
    this.hub = createHub({
      inbox: shard,
      coordinatorId: 'c1',
      limits,
      now: () => ports.time,
      wallNow: () => ports.time,
      newSessionId: () => `s${++sessions}`,
      coordinatorUrls: () => [],
      onLogLines: (_workerId, lines) => this.logs.append(lines),
      note: (level, message) => this.features.add(`${level} ${shapeOf(message).slice(0, 40)}`),
    });
    this.connection = this.#connect();
  }

  static async open(): Promise<World> {
    const ports = new VirtualPorts();
    const shard = await openVirtualShard(ports);
    const submission = { workflowId: 'wf', graph, inputs: jsonPayload({}), labels: {}, idempotencyKey: '', requestHash: '', start: true };
    await runUntil(ports, shard.submit([submission]));
    return new World(shard, ports);
  }

  #connect(): Connection {
    this.#sent = 0;
    this.#received = 0;
    this.#granted = 0n;
    this.#assigned = 0;
    this.#alarmAt = null;
    const link: Link = {
      send: (frame) => this.#check(frame),
      close: (code) => this.features.add(`close ${code}`),
      setAlarm: (at) => {
        this.#alarmAt = at;
      },
      wake: () => {
        this.#isAwake = true;
      },
    };
    return this.hub.connect(link);
  }

  async do(step: Step): Promise<void> {
    switch (step.kind) {
      case 'frame':
      case 'numbered':
        this.#receive(step.bytes, step.kind === 'numbered');
        break;
      case 'wait':
        this.ports.advance(step.ms);
        if (this.#alarmAt !== null && this.#alarmAt <= this.ports.time) {
          this.#alarmAt = null;
          this.connection.tick();
        }
        break;
      case 'work':
        this.connection.observeFlow(step.choice * 16, step.choice);
        break;
      case 'close':
        this.connection.closed(step.code);
        this.connection = this.#connect();
        break;
      case 'text':
        this.connection.receiveUnreadable('a text message came; frames are binary');
        break;
      default:
        step satisfies never;
    }
    await this.settle();
  }

  /** Everything that needs no time. */
  async settle(): Promise<void> {
    for (let i = 0; i < 3; i++) {
      this.ports.run();
      await Promise.resolve();
      if (!this.#isAwake) continue;
      this.#isAwake = false;
      this.connection.flush();
    }
    if (this.ports.stopped !== null) throw new Broken(`the shard stopped: ${this.ports.stopped}`);
  }

  #receive(bytes: Uint8Array, isNumbered: boolean): void {
    const decoded = decodeFrame(bytes, limits);
    if (decoded.kind === 'bad') {
      if (decoded.message === '') throw new Broken('a refusal says nothing');
      this.features.add(shapeOf(decoded.message));
      this.connection.receiveUnreadable(decoded.message);
      return;
    }
    const { frame } = decoded;
    if (isNumbered) {
      frame.seq = BigInt(this.#received + 1);
      frame.ack = BigInt(this.#sent);
    }
    if (Number(frame.seq) === this.#received + 1) this.#received += 1;
    if (frame.body.case === 'credit' && frame.body.value.granted > this.#granted) this.#granted = frame.body.value.granted;
    this.features.add(`came ${frame.body.case}`);
    this.connection.receive(frame);
  }

  #check(frame: CoordinatorFrame): void {
    const bytes = encodeFrame(frame);
    if (bytes.length > limits.frameBytes) throw new Broken(`a frame of ${bytes.length} bytes is sent`);
    if (Number(frame.seq) !== ++this.#sent) throw new Broken(`frame ${frame.seq} is sent where ${this.#sent} is due`);
    const { body } = frame;
    this.features.add(`sent ${body.case}`);
    if (body.case === 'assignments') {
      this.#assigned += body.value.assignments.length;
      if (BigInt(this.#assigned) > this.#granted) throw new Broken('more is assigned than was granted');
    } else if (body.case === 'error') {
      const { code, message } = body.value;
      if (code === '' || message === '') throw new Broken('an error says nothing');
      this.features.add(`error ${code} ${shapeOf(message)}`);
    } else if (body.case === 'resultAcks') for (const { verdict } of body.value.acks) this.features.add(`ack ${verdict}`);
  }
}

async function run(input: Uint8Array): Promise<Outcome> {
  const world = await World.open();
  for (const step of readSteps(input)) await world.do(step);
  const { openWorkflows, runningJobs } = world.shard.stats();
  world.features.add(`open ${openWorkflows} running ${runningJobs} workers ${world.hub.workers().length}`);
  return { features: [...world.features], kept: world };
}

/** Tokens as the shard gives them: the first assignments of a new world. */
const tokens = ['1.1.nonce-1', '1.2.nonce-2', '1.3.nonce-3', '1.4.nonce-4', 'foreign', ''];

type Body = Parameters<typeof workerFrame>[2];

function numbered(body: Body): Step {
  return { kind: 'numbered', bytes: toBinary(WorkerFrameSchema, workerFrame(1, 0, body)) };
}

function seeds(): Uint8Array[] {
  const greeting = [numbered(hello()), numbered({ case: 'credit', value: { granted: 4n } })];
  const [first, second] = tokens;
  const accepted = numbered({
    case: 'assignReplies',
    value: {
      replies: [
        { leaseToken: first, accepted: true },
        { leaseToken: second, reason: 'no' },
      ],
    },
  });
  const beat = numbered({
    case: 'heartbeat',
    value: { leases: [{ leaseToken: first, progress: 0.5, checkpoint: { data: json({ at: 1 }) } }] },
  });
  const ended = numbered({
    case: 'results',
    value: { results: [resultOf(first, { case: 'output', value: { data: json({ rows: [1] }) } })] },
  });
  return [
    writeSteps([...greeting, accepted, beat, ended]),
    writeSteps([
      ...greeting,
      accepted,
      { kind: 'close', code: 1006 },
      numbered(hello({ inFlight: [{ leaseToken: first, workflowId: 'wf', jobId: 'a', attempt: 1 }] })),
      ended,
    ]),
    writeSteps([...greeting, accepted, { kind: 'wait', ms: 9_000 }]),
    writeSteps([...greeting, accepted, { kind: 'close', code: 1000 }]),
    writeSteps([{ kind: 'text' }]),
  ];
}

function resultOf(leaseToken: string, outcome: object) {
  return { leaseToken, workflowId: 'wf', jobId: 'a', attempt: 1, outcome: outcome as never };
}

function bodyOf(random: Random): Body {
  const token = () => random.pick(tokens);
  const some = <T>(make: () => T): T[] => Array.from({ length: random.below(random.chance(0.03) ? 3_000 : 4) }, make);
  const number = () => random.pick([0n, 1n, 4n, 10_001n, 2n ** 53n, 2n ** 64n - 1n]);
  const text = () => random.pick(['', 'x', 'é'.repeat(600), 'a\nb', '\u0000']);
  const payload = () => ({
    encoding: random.pick(['', 'json', 'x']),
    data: json(random.pick<unknown>([null, { rows: [1] }, 'x'.repeat(3_000), [[[]]]])),
  });
  const outcomes = [
    { case: 'output', value: payload() },
    {
      case: 'error',
      value: {
        code: random.pick(['BUSY', '', 'x'.repeat(300)]),
        message: text(),
        retryable: random.chance(0.7),
        details: payload(),
        retryAfterMs: number() / 2n,
      },
    },
    { case: 'cancelled', value: {} },
    { case: 'released', value: {} },
    { case: undefined },
  ];
  switch (random.below(9)) {
    case 0:
      return hello({
        workerId: random.pick(['w1', 'w2', '', ' x']),
        instanceId: random.pick(['i1', 'i2']),
        connection: number(),
        labels: { a: text() },
        partial: random.chance(0.2),
      });
    case 1:
      return { case: 'credit', value: { granted: number() } };
    case 2:
      return {
        case: 'assignReplies',
        value: { replies: some(() => ({ leaseToken: token(), accepted: random.chance(0.7), reason: text() })) },
      };
    case 3:
    case 4: {
      const progress = random.pick([0.5, -1, Number.NaN, Number.POSITIVE_INFINITY]);
      return {
        case: 'heartbeat',
        value: {
          leases: some(() => ({ leaseToken: token(), progress, progressMessage: text(), checkpoint: payload(), idleMs: number() })),
          partial: random.chance(0.2),
        },
      };
    }
    case 5:
    case 6:
      return {
        case: 'results',
        value: { results: some(() => ({ ...resultOf(token(), random.pick(outcomes)), runningMs: number(), attempt: random.below(3) })) },
      };
    case 7:
      return {
        case: 'logLines',
        value: {
          lines: some(() => ({
            leaseToken: token(),
            workflowId: 'wf',
            jobId: 'a',
            timeMs: number() / 2n,
            message: text(),
            level: random.below(7) as never,
            number: random.below(4),
            dropped: random.below(3),
          })),
        },
      };
    default:
      return random.chance(0.5) ? { case: 'drain', value: { reason: text() } } : { case: 'error', value: { code: 'X', message: text() } };
  }
}

function generate(random: Random): Uint8Array {
  const steps: Step[] = random.chance(0.9) ? [numbered(hello()), numbered({ case: 'credit', value: { granted: 4n } })] : [];
  for (let i = random.below(12); i >= 0; i--) {
    const frame: WorkerFrame = create(WorkerFrameSchema, {
      seq: BigInt(random.below(9)),
      ack: BigInt(random.below(4)),
      body: bodyOf(random) as never,
    });
    const bytes = toBinary(WorkerFrameSchema, frame);
    const dice = random.below(20);
    if (dice < 11) steps.push({ kind: 'numbered', bytes });
    else if (dice < 14) steps.push({ kind: 'numbered', bytes: damaged(bytes, random) });
    else if (dice < 15) steps.push({ kind: 'frame', bytes: damaged(bytes, random) });
    else if (dice < 17) steps.push({ kind: 'wait', ms: random.pick([16, 900, 2_100, 5_100, 8_100, 60_000]) });
    else if (dice < 18) steps.push({ kind: 'work', choice: random.below(0x10000) });
    else if (dice < 19) steps.push({ kind: 'close', code: random.pick([1000, 1001, 1006, 4000]) });
    else steps.push({ kind: 'text' });
  }
  return writeSteps(steps);
}
