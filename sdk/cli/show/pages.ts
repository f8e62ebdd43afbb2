/**
 * One workflow, one job, one coordinator as a page of text.
 */

import { timestampMs } from '@bufbuild/protobuf/wkt';
import {
  type Attempt,
  Attempt_Outcome,
  Durability,
  type GetInfoResponse,
  GetInfoResponse_Role,
  type Job,
  StorageTier_Health,
  type Workflow,
} from '@workflow-orchestrator/proto';
import { jobStatusName, skipReasonName, workflowStatusName } from '../../client/status.ts';
import { jsonOf } from '../../client/value.ts';
import { clean, paint, type Terminal } from '../terminal.ts';
import { errorText, progressOf } from './progress.ts';
import { statusSign, statusText } from './status.ts';
import { table } from './table.ts';
import { durationText, elapsedText, timeText } from './time.ts';

type Canvas = Pick<Terminal, 'color' | 'unicode'>;

/** A workflow and its jobs. */
export function workflowLines(canvas: Canvas, workflow: Workflow, nowMs: number): string[] {
  const counts = workflow.jobCounts;
  const ended = counts === undefined ? 0 : counts.succeeded + counts.failed + counts.cancelled + counts.skipped;
  const facts = factLines([
    ['id', workflow.id],
    [
      'definition',
      `${workflow.name}${workflow.version === '' ? '' : ` version ${workflow.version}`} ${workflow.definitionHash.slice(0, 12)}`,
    ],
    ['status', statusText(canvas, workflowStatusName(workflow.status)) + (workflow.cancelRequested ? ', cancel requested' : '')],
    ['submitted', timeText(workflow.submitTime)],
    ['started', timeText(workflow.startTime)],
    ['ended', timeText(workflow.endTime)],
    ['took', elapsedText(workflow.startTime, workflow.endTime, nowMs)],
    ['jobs', counts === undefined ? '' : `${ended} of ${counts.total} ended`],
    [
      'labels',
      Object.entries(workflow.labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(', '),
    ],
    [
      'error',
      workflow.error === undefined ? '' : (workflow.error.jobId === '' ? '' : `job ${workflow.error.jobId}: `) + errorText(workflow.error),
    ],
    ['inputs', workflow.inputs === undefined ? '' : JSON.stringify(workflow.inputs)],
    ['outputs', workflow.outputs === undefined ? '' : JSON.stringify(workflow.outputs)],
    ['durability', durabilityText(workflow.durability)],
  ]);
  if (workflow.jobs.length === 0) return facts;
  const { jobs } = progressOf(workflow);
  const rows = workflow.jobs.map((job) => [
    `${statusSign(canvas, jobStatusName(job.status))} ${job.id}`,
    job.type,
    statusText(canvas, jobStatusName(job.status)),
    job.attempt === 0 ? '' : `${job.attempt} of ${job.maxAttempts}`,
    elapsedText(job.startTime, job.endTime, nowMs),
    clean(job.workerId),
    clean(jobs.get(job.id)?.remark ?? ''),
  ]);
  return [...facts, '', ...table(['JOB', 'TYPE', 'STATUS', 'ATTEMPT', 'TOOK', 'WORKER', ''], rows)];
}

/** A job and its attempts. */
export function jobLines(canvas: Canvas, job: Job, attempts: readonly Attempt[], nowMs: number): string[] {
  const reason = skipReasonName(job.skipReason);
  const facts = factLines([
    ['id', job.id],
    ['name', job.name === job.id ? '' : job.name],
    ['type', job.type],
    ['status', statusText(canvas, jobStatusName(job.status))],
    ['skipped', reason === null ? '' : [reason, ...job.causes].join(' ')],
    ['ready', timeText(job.readyTime)],
    ['started', timeText(job.startTime)],
    ['ended', timeText(job.endTime)],
    ['next attempt', timeText(job.nextAttemptTime)],
    ['progress', job.progress === undefined ? '' : `${Math.round(job.progress * 100)}% ${job.progressMessage}`],
    ['error', job.error === undefined ? '' : errorText(job.error)],
    ['details', job.error?.details === undefined ? '' : JSON.stringify(jsonOf(job.error.details))],
    ['parameters', job.parameters === undefined ? '' : JSON.stringify(jsonOf(job.parameters))],
    ['output', job.output === undefined ? '' : JSON.stringify(jsonOf(job.output))],
  ]);
  if (attempts.length === 0) return facts;
  const rows = attempts.map((attempt) => [
    String(attempt.number),
    outcomeText(attempt.outcome),
    timeText(attempt.startTime),
    elapsedText(attempt.startTime, attempt.endTime, nowMs),
    clean(attempt.workerId),
    attempt.error === undefined ? '' : clean(errorText(attempt.error)),
  ]);
  return [...facts, '', ...table(['ATTEMPT', 'OUTCOME', 'STARTED (UTC)', 'TOOK', 'WORKER', 'ERROR'], rows)];
}

/** A coordinator. */
export function infoLines(canvas: Canvas, address: string, info: GetInfoResponse, nowMs: number): string[] {
  const up = info.startTime === undefined ? '' : `, up ${durationText(nowMs - timestampMs(info.startTime))}`;
  return factLines([
    ['coordinator', `${info.coordinatorId} at ${address}`],
    ['version', `${info.version}${up}`],
    ['role', roleText(canvas, info)],
    ['trouble', paint(canvas, 'red', clean(info.trouble))],
    ['durability', durabilityText(info.durability)],
    ...info.tiers.map((tier): [string, string] => {
      const ok = tier.health === StorageTier_Health.OK;
      const health = ok ? 'OK' : tier.health === StorageTier_Health.DEGRADED ? 'DEGRADED' : 'DOWN';
      return [`tier ${tier.name}`, `${paint(canvas, ok ? 'green' : 'red', health)}${tier.detail === '' ? '' : ` ${clean(tier.detail)}`}`];
    }),
    [
      'workflows',
      `${info.openWorkflows} open${info.unarchivedWorkflows === 0n ? '' : `, ${info.unarchivedWorkflows} ended ones on their way to the archive`}`,
    ],
    ['jobs', `${info.readyJobs} ready, ${info.runningJobs} running`],
    ['workers', String(info.workers)],
  ]);
}

function roleText(canvas: Canvas, { role, activeAddress }: GetInfoResponse): string {
  switch (role) {
    case GetInfoResponse_Role.STANDBY:
      return paint(canvas, 'yellow', `STANDBY${activeAddress === '' ? '' : `, the active one is at ${clean(activeAddress)}`}`);
    case GetInfoResponse_Role.RECOVERING:
      return paint(canvas, 'yellow', 'RECOVERING');
    case GetInfoResponse_Role.ACTIVE:
      return 'ACTIVE';
    default:
      return '';
  }
}

/** Names and values; what is empty is left out. */
function factLines(facts: readonly (readonly [string, string])[]): string[] {
  const known = facts.filter(([, value]) => value !== '');
  const nameWidth = Math.max(...known.map(([name]) => name.length));
  return known.map(([name, value]) => `${name.padEnd(nameWidth)}  ${value}`);
}

function durabilityText(durability: Durability): string {
  switch (durability) {
    case Durability.VOLATILE:
      return 'VOLATILE (in memory, gone with the process)';
    case Durability.REPLICATED_VOLATILE:
      return 'REPLICATED_VOLATILE (in Redis)';
    case Durability.DURABLE:
      return 'DURABLE (on disk)';
    default:
      return '';
  }
}

function outcomeText(outcome: Attempt_Outcome): string {
  switch (outcome) {
    case Attempt_Outcome.SUCCEEDED:
      return 'SUCCEEDED';
    case Attempt_Outcome.FAILED:
      return 'FAILED';
    case Attempt_Outcome.CANCELLED:
      return 'CANCELLED';
    default:
      return 'RUNNING';
  }
}
