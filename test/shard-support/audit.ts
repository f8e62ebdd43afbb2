/**
 * "Nothing is stuck" as something that is looked at after every step: whatever is open has a next event, and somebody who brings it.
 *
 * Written from what the parts around the shard do, and from what can be seen of the shard from outside. Call it when no turn waits.
 */
import type { GraphJob } from '@workflow-orchestrator/engine/definition';
import { isToStop, type JobState, nextWake, type WorkflowState } from '@workflow-orchestrator/engine/machine';
import { limits } from '@workflow-orchestrator/proto/limits';
import { REFUSAL_PAUSE_MS } from '../../coordinator/shard/workers.ts';
import { nextEvent } from '../engine-support/next-event.ts';
import type { WorkerDouble } from './worker-double.ts';
import type { ShardWorld } from './world.ts';

/** Checks the world as it stands. Throws with what is wrong. */
export function audit(world: ShardWorld): void {
  if (world.violations.length > 0) throw new Error(world.violations.join('; '));
  if (world.ports.stopped !== null) throw new Error(`the shard stopped: ${world.ports.stopped}`);
  const open = world.openStates();
  let running = 0;
  let ready = 0;
  let maybeReady = 0;
  for (const state of open) {
    const wake = nextWake(state);
    if (wake !== null) expectAlarm(world, wake, `${state.id} has a timer`);
    for (const [index, job] of state.jobs.entries()) {
      nextEvent(state, index);
      if (job.phase !== 'READY') continue;
      if (job.lease !== null) {
        if (job.lease.acceptedAt !== null) running++;
        checkHolder(world, state, index, job);
      } else if (state.status === 'RUNNING' && !isToStop(state, index)) {
        const waits = checkWaiting(world, state.graph.jobs[index], job);
        if (waits === 'ready') ready++;
        else if (waits === 'maybe') maybeReady++;
      }
    }
  }
  const stats = world.shard.stats();
  if (stats.runningJobs !== running) throw new Error(`${running} jobs run, the shard counts ${stats.runningJobs}`);
  if (stats.readyJobs < ready || stats.readyJobs > ready + maybeReady)
    throw new Error(`${ready} jobs are ready (and ${maybeReady} may be), the shard counts ${stats.readyJobs}`);
}

/** A lease is held by somebody who is connected, or is given up soon. */
function checkHolder(world: ShardWorld, { id }: WorkflowState, index: number, { lease }: JobState): void {
  const holder = world.workers.find((worker) => worker.id === lease?.workerId);
  if (holder === undefined || holder.phase === 'absent')
    throw new Error(`job ${index} of ${id} is held by ${lease?.workerId}, who is gone`);
}

/** A job without a lease waits for its time, with an alarm; for the end of the grace; or in the queue, and then only as long as nobody has room. */
function checkWaiting(world: ShardWorld, graphJob: GraphJob, job: JobState): 'ready' | 'maybe' | 'later' {
  const { now } = world;
  if (job.notBefore > now) {
    expectAlarm(world, job.notBefore, `${graphJob.id} is due`);
    return 'later';
  }
  const graceUntil = world.recoveredAt + limits.leaseMs;
  if (job.notBefore <= world.recoveredAt && now < graceUntil) {
    expectAlarm(world, graceUntil, `${graphJob.id} may be running`);
    return 'maybe';
  }
  // While a commit is under way room may be taken by assignments that nobody has seen.
  const taker = world.shard.stats().uncommittedEvents > 0 ? undefined : world.workers.find((worker) => couldTake(worker, graphJob, now));
  if (taker !== undefined) throw new Error(`${graphJob.id} waits although ${taker.id} has room`);
  return 'ready';
}

function couldTake(worker: WorkerDouble, { type, requiredLabels }: GraphJob, now: number): boolean {
  const cap = worker.capabilities.get(type);
  if (worker.phase !== 'ready' || !worker.isOpen || worker.available <= 0 || cap === undefined) return false;
  for (const [key, value] of requiredLabels) if (worker.labels.get(key) !== value) return false;
  if (now < (worker.refusedAt.get(type) ?? 0) + REFUSAL_PAUSE_MS) return false;
  // Forgotten attempts count at the shard until it knows: a cap is not looked at where there may be some.
  return cap === 0;
}

function expectAlarm(world: ShardWorld, at: number, why: string): void {
  const { alarmAt } = world.ports;
  if (alarmAt === null || alarmAt > at)
    throw new Error(`${why} at +${at - world.now} ms, the alarm is ${alarmAt === null ? 'off' : `+${alarmAt - world.now} ms`}`);
}
