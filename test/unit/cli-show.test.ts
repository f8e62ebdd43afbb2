/**
 * What `wf` shows while a workflow runs: the fold of a watch, the picture of it, and its lines.
 */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Job_SkipReason, Job_Status, JobSchema, Workflow_Status, WorkflowEventSchema, WorkflowSchema } from '@workflow-orchestrator/proto';
import type { WatchStep } from '@workflow-orchestrator/sdk';
import t from 'tap';
import type { GraphModel } from '../../sdk/cli/graph/model.ts';
import { picture, places } from '../../sdk/cli/show/picture.ts';
import { afterStep, progressOf, type WorkflowProgress } from '../../sdk/cli/show/progress.ts';
import { stepLine } from '../../sdk/cli/show/steps.ts';
import { cut, table, width } from '../../sdk/cli/show/table.ts';
import { clockText, durationText, timeText } from '../../sdk/cli/show/time.ts';

const plain = { color: false, unicode: false };
const node = (id: string, ...sources: string[]) => ({
  id,
  type: 'x',
  inEdges: sources.map((source) => ({ source, kind: 'success' as const })),
  alwaysRun: false,
  condition: '',
  join: 'all' as const,
});
const model: GraphModel = { name: 'flow', nodes: [node('a'), node('b', 'a'), node('c', 'b'), node('d')] };

function started(): WorkflowProgress {
  const jobs = model.nodes.map(({ id }) => create(JobSchema, { id, status: Job_Status.PENDING }));
  return progressOf(create(WorkflowSchema, { id: 'w1', name: 'flow', status: Workflow_Status.PENDING, jobs }));
}

let seq = 0n;
function event(atMs: number, jobId: string, kind: MessageInitShape<typeof WorkflowEventSchema>['kind']): WatchStep {
  seq += 1n;
  return {
    kind: 'event',
    event: create(WorkflowEventSchema, { seq, time: timestampFromMs(atMs), jobId, kind: kind ?? { case: undefined } }),
  };
}

const error = (message: string) => ({ code: 'BROKEN', message, retryable: true });
const story: WatchStep[] = [
  event(0, '', { case: 'submitted', value: {} }),
  event(1_000, '', { case: 'started', value: {} }),
  event(1_000, 'a', { case: 'jobReady', value: {} }),
  {
    kind: 'job',
    job: create(JobSchema, {
      id: 'a',
      status: Job_Status.RUNNING,
      attempt: 1,
      workerId: 'k1',
      startTime: timestampFromMs(1_500),
      progress: 0.25,
      progressMessage: 'a quarter',
    }),
  },
  event(3_000, 'a', { case: 'jobRetryScheduled', value: { attempt: { number: 1, startMs: 1_500n }, error: error('first') } }),
  event(6_000, 'a', { case: 'jobFailed', value: { attempt: { number: 2, startMs: 5_000n }, error: error('bad\u001b[2J') } }),
  event(6_000, 'b', { case: 'jobSkipped', value: { reason: Job_SkipReason.UPSTREAM_FAILED, causes: [0] } }),
  event(6_000, 'd', { case: 'jobSucceeded', value: { attempt: { number: 1, startMs: 2_000n } } }),
  event(7_000, '', { case: 'paused', value: {} }),
  event(8_000, '', { case: 'resumed', value: {} }),
  event(9_000, '', { case: 'cancelRequested', value: { reason: 'enough' } }),
  event(9_000, 'c', { case: 'jobCancelled', value: {} }),
  event(9_500, '', { case: 'timedOut', value: { limit: 'timeout' } }),
  event(10_000, '', { case: 'ended', value: { status: Workflow_Status.FAILED, error: error('job a') } }),
];

t.test('a watch folds into a view, and each step that says something is a line', async (t) => {
  let view = started();
  const lines: string[] = [];
  for (const step of story) {
    const before = view.jobs.get(step.kind === 'job' ? step.job.id : step.event.jobId);
    view = afterStep(view, step);
    const line = stepLine(plain, step, before, view);
    if (line !== null) lines.push(line.replace(/^\S+ {2}/, ''));
  }
  t.same(lines, [
    'flow w1 PENDING',
    'flow RUNNING',
    'a RUNNING on k1',
    'a RETRYING: BROKEN: first',
    'a FAILED after 1.0s, attempt 2: BROKEN: bad[2J',
    'b SKIPPED: UPSTREAM_FAILED because of a',
    'd SUCCEEDED after 4.0s',
    'flow PAUSED',
    'flow RUNNING',
    'flow being cancelled: enough',
    'c CANCELLED',
    'flow TIMEOUT: timeout has passed',
    'flow FAILED after 9.0s: BROKEN: job a',
  ]);
  t.match(view, { status: 'FAILED', startMs: 1_000, endMs: 10_000 });
  t.equal(stepLine(plain, story[3], { ...started().jobs.get('a')!, status: 'RUNNING' }, view), null, 'running on is nothing new');
});

t.test('the picture of a running workflow', async (t) => {
  let view = started();
  for (const step of story.slice(0, 4)) view = afterStep(view, step);
  const lines = places(model);
  t.same(picture(plain, view, lines, { columns: 80, rows: 24 }, 3_000), [
    'flow w1 RUNNING 0 of 4 jobs 2.0s',
    '* a       RUNNING   1.5s ###....... 25% a quarter',
    '. `- b    PENDING',
    '.    `- c PENDING',
    '. d       PENDING',
  ]);
  t.ok(picture(plain, view, lines, { columns: 40, rows: 24 }, 3_000).every((line) => width(line) <= 80));
  for (const step of story.slice(4, 8)) view = afterStep(view, step);
  const small = picture(plain, view, lines, { columns: 80, rows: 6 }, 3_000);
  t.same(small, ['flow w1 RUNNING 3 of 4 jobs, 1 failed 2.0s', 'x a FAILED    1.0s attempt 2 BROKEN: bad[2J', '  and 3 more jobs']);
  const colored = picture({ color: true, unicode: true }, view, lines, { columns: 80, rows: 24 }, 3_000);
  t.ok(colored.join('\n').includes('\u001b['));
  t.match(colored.join('\n'), /└─ b/);
});

t.test('a workflow as it was read', async (t) => {
  const view = progressOf(
    create(WorkflowSchema, {
      status: Workflow_Status.FAILED,
      error: { code: 'TIMEOUT', message: 'too long' },
      jobs: [
        { id: 'a', status: Job_Status.SKIPPED, skipReason: Job_SkipReason.UPSTREAM_FAILED, causes: ['x', 'y'] },
        { id: 'b', status: Job_Status.FAILED, error: { code: 'E', message: 'm' } },
        { id: 'c', status: 99 as never },
      ],
    }),
  );
  t.equal(view.remark, 'TIMEOUT: too long');
  t.equal(view.jobs.get('a')?.remark, 'UPSTREAM_FAILED because of x, y');
  t.equal(view.jobs.get('b')?.remark, 'E: m');
  t.equal(view.jobs.get('c')?.status, 'UNKNOWN', 'a newer server may know more');
});

t.test('tables, times and durations', async (t) => {
  t.same(table(['A', 'LONG'], [['\u001b[31mxyz\u001b[39m', 'b']]), ['A    LONG', '\u001b[31mxyz\u001b[39m  b']);
  t.equal(cut('abcdef', 5), 'ab...');
  t.equal(cut('abc', 5), 'abc');
  t.same([0, 950, 12_400, 61_000, 3_600_000, 90_000_000].map(durationText), ['0.0s', '0.9s', '12s', '1m01s', '1h00m', '1d01h']);
  t.equal(timeText(timestampFromMs(0)), '1970-01-01 00:00:00');
  t.equal(timeText(undefined), '');
  t.match(clockText(5), /^\d\d:\d\d:\d\d\.005$/);
});
