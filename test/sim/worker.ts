/**
 * One worker of a run: the session machine of the worker over simulated connections, and handlers that do by chance whatever handlers do.
 * Its ledger of executions is what a side effect outside would be.
 */
import type { Assignment, Payload } from '@workflow-orchestrator/proto';
import { ResultAck_Verdict } from '@workflow-orchestrator/proto';
import { checkpoint } from '../../worker/session/from-handler.ts';
import { failure, type Outcome } from '../../worker/session/outcome.ts';
import * as machine from '../../worker/session/session.ts';
import { newWorkerSession, type WorkerOutput, type WorkerSession } from '../../worker/session/state.ts';
import { workerLimits } from '../../worker/session/worker-limits.ts';
import { nameOf } from '../shard-support/worker-double.ts';
import type { SimCoordinator } from './coordinator.ts';
import { SimNode } from './node.ts';
import type { WorkerPlan } from './plan.ts';
import type { Surroundings } from './surroundings.ts';
import { Wire } from './wire.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

interface Execution {
  readonly op: number;
  readonly assignment: Assignment;
  /** Ends it with this outcome. */
  readonly finish: (outcome: Outcome) => void;
}

export class SimWorker {
  readonly node: SimNode;
  readonly #world: Surroundings;
  readonly #plan: WorkerPlan;
  readonly #coordinators: readonly SimCoordinator[];
  #session: WorkerSession | null = null;
  #wires = new Map<number, Wire>();
  #executions = new Map<string, Execution>();
  #cancelAlarm: () => void = () => {};
  #isAwake = false;

  constructor(name: string, world: Surroundings, plan: WorkerPlan, coordinators: readonly SimCoordinator[]) {
    this.#world = world;
    this.#plan = plan;
    this.#coordinators = coordinators;
    this.node = new SimNode(name, world.clock);
  }

  /** Attempts that run, and results that wait. */
  get holds(): number {
    return (this.#session?.running.size ?? 0) + (this.#session?.ended.size ?? 0);
  }

  /** A process starts. */
  start(): void {
    const { node } = this;
    node.start();
    this.#wires = new Map();
    this.#executions = new Map();
    this.#isAwake = false;
    const { slots, capabilities, labels } = this.#plan;
    const random = this.#world.chance.of(node.name);
    const urls = this.#coordinators.map(({ node: { name } }) => name);
    const self = {
      workerId: node.name,
      instanceId: `${node.name}/${node.incarnation}`,
      build: '',
      sdk: 'simulator',
      labels,
      slots,
      capabilities: Object.entries(capabilities).map(([type, most]) => ({
        $typeName: 'workflow.v1.Capability' as const,
        type,
        slots: most,
      })),
    };
    this.#world.record(node, { op: 0, f: 'join', type: 'ok', value: { slots, capabilities, labels } });
    this.#session = newWorkerSession(self, urls, workerLimits(), () => random.below(1_000) / 1_000);
    this.#do(machine.start(this.#session, this.#world.clock.now));
  }

  /** The process is gone, in the middle of whatever it did. */
  crash(): void {
    if (!this.node.isUp) return;
    for (const { op, assignment } of this.#executions.values()) this.#note(assignment, op, 'info', 'unknown');
    this.node.crash();
    for (const wire of this.#wires.values()) wire.abandon();
    this.#session = null;
  }

  /** It takes no more work, and ends when it is done; then another process takes its place. */
  drain(): void {
    if (this.#session === null || this.node.isPaused) return;
    this.#world.reached('a worker drained');
    this.#do(machine.drain(this.#session, 'by chance', this.#world.clock.now));
  }

  #do(outputs: readonly WorkerOutput[]): void {
    for (const output of outputs) this.#perform(output);
  }

  #perform(output: WorkerOutput): void {
    const session = this.#session;
    const { clock } = this.#world;
    if (session === null) return;
    switch (output.kind) {
      case 'connect':
        this.#connect(session, output.link, output.url);
        break;
      case 'send':
        this.#wires.get(output.link)?.send(output.frame);
        break;
      case 'close':
        this.#wires.get(output.link)?.close(output.code);
        this.#wires.delete(output.link);
        break;
      case 'run':
        this.#run(session, output.assignment);
        break;
      case 'abort':
        this.#abort(output.leaseToken);
        break;
      case 'wake':
        this.#wake(session);
        break;
      case 'alarm':
        this.#cancelAlarm();
        this.#cancelAlarm = this.node.after(Math.max(1, output.at - clock.now), () => this.#do(machine.tick(session, clock.now)));
        break;
      case 'ended':
        this.#end(session);
        break;
      case 'acknowledged':
      case 'welcomed':
      case 'disconnected':
      case 'note':
        break;
      default:
        output satisfies never;
    }
  }

  #connect(session: WorkerSession, link: number, url: string): void {
    const coordinator = this.#coordinators.find(({ node }) => node.name === url);
    if (coordinator === undefined) throw new Error(`there is no coordinator ${url}`);
    const { clock } = this.#world;
    const wire = new Wire(this.#world, this.node, coordinator, {
      opened: () => this.#do(machine.opened(session, link, clock.now)),
      received: (frame) => {
        if (frame.body.case === 'resultAcks') {
          for (const { leaseToken, verdict } of frame.body.value.acks)
            this.#world.record(this.node, {
              op: 0,
              f: 'acked',
              type: 'ok',
              value: { token: leaseToken, answer: nameOf(ResultAck_Verdict, verdict) },
            });
        }
        this.#do(machine.receive(session, link, frame, clock.now));
      },
      closed: (reason, retryAfterMs) => {
        this.#wires.delete(link);
        this.#do(machine.closed(session, link, reason, retryAfterMs, clock.now));
      },
    });
    this.#wires.set(link, wire);
  }

  #wake(session: WorkerSession): void {
    if (this.#isAwake) return;
    this.#isAwake = true;
    this.node.after(0, () => {
      this.#isAwake = false;
      this.#do(machine.flush(session, this.#world.clock.now, false));
    });
  }

  #end(session: WorkerSession): void {
    if (session.running.size > 0 || session.ended.size > 0)
      this.#world.violations.push({ invariant: 'I2', message: `${this.node.name} ended with work in its hands` });
    this.node.crash();
    this.#session = null;
    this.#world.clock.after(500, () => {
      if (!this.node.isUp) this.start();
    });
  }

  /** A handler begins. */
  #run(session: WorkerSession, assignment: Assignment): void {
    const world = this.#world;
    const { clock, rates } = world;
    const random = world.chance.of('handlers');
    const { leaseToken } = assignment;
    const op = world.history.newOp();
    this.#begun(assignment, op);
    let isOver = false;
    const finish = (outcome: Outcome): void => {
      if (isOver) return;
      isOver = true;
      this.#executions.delete(leaseToken);
      // One that is running no more for the session has ended otherwise: by its timeout, or because its lease was lost.
      const counts = session.running.has(leaseToken);
      this.#note(assignment, op, outcome.kind === 'succeeded' ? 'ok' : 'fail', counts ? outcome.kind : 'dropped', outcome);
      this.#do(machine.finish(session, leaseToken, outcome, clock.now));
    };
    this.#executions.set(leaseToken, { op, assignment, finish });
    const ms = random.chance(rates.handlerSlow) ? random.below(12_000) : random.below(400);
    const outcome = this.#outcome(assignment);
    this.node.after(ms, () => finish(outcome));
    if (random.chance(rates.handlerCheckpoints)) {
      this.node.after(ms / 2, () => {
        if (!isOver) checkpoint(session, leaseToken, encoder.encode(`{"at":${Math.floor(ms / 2)}}`), clock.now);
      });
    }
    if (random.chance(rates.handlerCrashes)) {
      this.node.after(random.below(600), () => {
        world.tell(`${this.node.name} crashes in a handler`);
        world.reached('a worker crashed in a handler');
        this.crash();
        clock.after(500 + random.below(6_000), () => {
          if (!this.node.isUp) this.start();
        });
      });
    }
  }

  #outcome(assignment: Assignment): Outcome {
    const { rates } = this.#world;
    const random = this.#world.chance.of('handlers');
    if (random.chance(rates.handlerFailsForGood)) return { kind: 'failed', error: failure('BROKEN', 'it is broken', false) };
    if (random.chance(rates.handlerFails)) return { kind: 'failed', error: failure('BUSY', 'it is busy', true) };
    return { kind: 'succeeded', output: encoder.encode(outputOf(assignment)) };
  }

  #abort(leaseToken: string): void {
    const random = this.#world.chance.of('handlers');
    // Some do not listen.
    if (random.chance(this.#world.rates.handlerDeaf)) return;
    const execution = this.#executions.get(leaseToken);
    if (execution !== undefined) this.node.after(random.below(200), () => execution.finish({ kind: 'cancelled' }));
  }

  /** What a handler is given, as it is given. */
  #begun({ workflowId, jobId, attempt, leaseToken, inputs, parameters, checkpoint: before }: Assignment, op: number): void {
    const value = {
      token: leaseToken,
      slots: this.#plan.slots,
      inputs: Object.fromEntries(inputs.map(({ jobId: source, payload }) => [source, textOf(payload)])),
      parameters: textOf(parameters),
      ...(before === undefined ? {} : { checkpoint: textOf(before) }),
    };
    this.#world.record(this.node, { op, f: 'execute', type: 'invoke', workflow: workflowId, job: jobId, attempt, value });
  }

  #note(
    { workflowId, jobId, attempt, leaseToken }: Assignment,
    op: number,
    type: 'ok' | 'fail' | 'info',
    outcome: string,
    how?: Outcome,
  ): void {
    const value = {
      token: leaseToken,
      slots: this.#plan.slots,
      outcome,
      ...(how?.kind === 'succeeded' ? { output: decoder.decode(how.output) } : {}),
    };
    this.#world.record(this.node, { op, f: 'execute', type, workflow: workflowId, job: jobId, attempt, value });
  }
}

function textOf(payload: Payload | undefined): string {
  return decoder.decode(payload?.data);
}

/** What an execution gives: no two give the same. */
function outputOf({ jobId, attempt, leaseToken }: Assignment): string {
  return JSON.stringify(`${jobId} attempt ${attempt} under ${leaseToken}`);
}
