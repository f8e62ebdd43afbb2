/**
 * Values on their way through a workflow: what expressions may read and when, parameters, inputs, outputs, and their limits.
 * The expressions are closures here; the language's own are tested with the definition.
 */
import type { Condition, ExpressionResult, Json, Payload, Scope, Template } from '@workflow-orchestrator/engine/definition';
import { limits } from '@workflow-orchestrator/proto/limits';
import t from 'tap';
import { CheckedRun } from '../engine-support/checked-run.ts';
import { type GraphOptions, graphOf, json } from '../engine-support/graphs.ts';
import { jobError } from '../engine-support/run.ts';

/** A started run; `job` finds a place by id. */
function begin(shape: string, options: GraphOptions = {}, inputs: Json = {}): { run: CheckedRun; job: (id: string) => number } {
  const run = new CheckedRun(graphOf(shape, options));
  run.submit(true, json(inputs));
  return { run, job: (id) => run.graph.indexOf.get(id) ?? -1 };
}

function value(payload: Payload | null): Json {
  return payload === null ? null : (JSON.parse(new TextDecoder().decode(payload.data)) as Json);
}

/** A template that renders what `read` finds. */
function rendering(read: (scope: Scope) => Json): Template {
  return { kind: 'dynamic', render: (scope): ExpressionResult<Payload> => ({ kind: 'value', value: json(read(scope)) }) };
}

const broken: Template = { kind: 'dynamic', render: () => ({ kind: 'failure', message: 'no such key: rows' }) };

t.test('parameters are rendered once, when the job becomes ready, from inputs and outputs', async (t) => {
  let renders = 0;
  const parameters = rendering((scope) => {
    renders++;
    return {
      env: (scope.inputs as { env: string }).env,
      rows: scope.job(0).output,
      status: scope.job(0).status,
      workflow: scope.workflow.status,
    };
  });
  const { run, job } = begin('a.ok->b', { jobs: { b: { parameters } } }, { env: 'prod' });
  t.equal(renders, 0, 'not before it is ready');
  run.assign(job('a'));
  run.succeed(job('a'), json(3));
  t.same(value(run.state.jobs[job('b')].parameters), { env: 'prod', rows: 3, status: 'SUCCEEDED', workflow: 'RUNNING' });
  t.same(run.state.jobs[job('b')].inputJobs, [job('a')]);
  run.recover();
  run.assign(job('b'));
  run.succeed(job('b'));
  t.equal(renders, 1, 'kept with the job, also over a recovery');
  t.equal(run.state.jobs[job('a')].parameters, null, 'static ones stay with the definition');
});

t.test('parameters that cannot be rendered fail the job, for good and before any attempt', async (t) => {
  const { run, job } = begin('a.fail->b', { jobs: { a: { parameters: broken } } });
  t.match(run.state.jobs[job('a')], { phase: 'FAILED', attempts: [], error: { code: 'EXPRESSION_ERROR', retryable: false } });
  t.match(run.state.jobs[job('a')].error?.message, /no such key: rows/);
  t.same(run.ready(), [job('b')], 'its failure edges are taken');
});

t.test('a job that a failure edge opened knows which job failed, how, and after how many attempts', async (t) => {
  const seen: (Scope['failure'] | null)[] = [];
  const condition: Condition = {
    source: 'failure != null',
    evaluate: ({ failure }) => {
      seen.push(failure);
      return { kind: 'value', value: true };
    },
  };
  const retry = { ...graphOf('a').jobs[0].retry, maxAttempts: 2, initialDelayMs: 0 };
  const { run, job } = begin('a.fail->b, a.fail->c(always_run), x.ok->d', {
    jobs: { a: { retry }, b: { condition }, c: { condition }, d: { condition } },
  });
  for (const code of ['BUSY', 'BROKEN']) {
    run.assign(job('a'));
    run.fail(job('a'), jobError(code));
  }
  run.assign(job('x'));
  run.succeed(job('x'));
  const failure = { job: 'a', error: { code: 'BROKEN', message: 'BROKEN happened' }, attempts: 2 };
  t.same(seen, [failure, failure, null]);
});

t.test('a condition sees how each job ended; the output of a job that did not run is null', async (t) => {
  let seen: Json = null;
  const condition: Condition = {
    source: 'x',
    evaluate: (scope) => {
      seen = [0, 1, 2].map((index) => ({ ...scope.job(index) }) as unknown as Json);
      return { kind: 'value', value: true };
    },
  };
  const { run, job } = begin('a.ok->b, c, a.ok->d(all_done), b.ok->d, c.ok->d', { jobs: { d: { condition } } });
  run.assign(job('a'));
  run.fail(job('a'), jobError('BROKEN', { retryable: false }));
  run.assign(job('c'));
  run.succeed(job('c'), json({ rows: 1 }));
  t.same(seen, [
    { output: null, status: 'FAILED', error: { code: 'BROKEN', message: 'BROKEN happened' } },
    { output: null, status: 'SKIPPED', error: null },
    { output: { rows: 1 }, status: 'SUCCEEDED', error: null },
  ]);
  t.same(run.state.jobs[job('d')].inputJobs, [job('c')], 'its input comes from the jobs that opened it');
});

t.test('an output that is no JSON is passed on unread, and reads as null in an expression', async (t) => {
  const parameters = rendering((scope) => ({ rows: scope.job(0).output }));
  for (const output of [
    { encoding: 'json', data: new Uint8Array([0x7b, 0xff]) },
    { encoding: 'protobuf', data: new Uint8Array([8, 1]) },
  ]) {
    const { run, job } = begin('a.ok->b', { jobs: { b: { parameters } } });
    run.assign(job('a'));
    run.succeed(job('a'), output);
    t.equal(run.state.jobs[job('a')].output, output);
    t.same(value(run.state.jobs[job('b')].parameters), { rows: null });
  }
});

t.test('a finaliser sees how the workflow is going to end', async (t) => {
  const parameters = rendering(({ workflow }) => workflow.status);
  for (const [fails, status] of [
    [false, 'SUCCEEDED'],
    [true, 'FAILED'],
  ] as const) {
    const { run, job } = begin('a, z(always_run)', { jobs: { z: { parameters } } });
    run.assign(job('a'));
    if (fails) run.fail(job('a'), jobError('BROKEN', { retryable: false }));
    else run.succeed(job('a'));
    t.equal(value(run.state.jobs[job('z')].parameters), status);
  }
  const { run, job } = begin('a, z(always_run)', { jobs: { z: { parameters } } });
  run.send({ kind: 'cancel', reason: '', force: false });
  t.equal(value(run.state.jobs[job('z')].parameters), 'CANCELLED');
});

t.test('outputs are computed when the workflow ends well; one that cannot be computed fails it', async (t) => {
  const outputs = rendering((scope) => ({ rows: scope.job(0).output }));
  const well = begin('a', { outputs }).run;
  well.assign(0);
  well.succeed(0, json(7));
  t.match(well.state, { status: 'SUCCEEDED', error: null });
  t.same(value(well.state.outputs), { rows: 7 });

  const failed = begin('a', { outputs }).run;
  failed.assign(0);
  failed.fail(0, jobError('BROKEN', { retryable: false }));
  t.match(failed.state, { status: 'FAILED', outputs: null });

  const impossible = begin('a', { outputs: broken }).run;
  impossible.assign(0);
  impossible.succeed(0);
  t.match(impossible.state, { status: 'FAILED', outputs: null, errorJob: null, error: { code: 'EXPRESSION_ERROR' } });
  t.equal(impossible.state.jobs[0].phase, 'SUCCEEDED');
});

t.test('parameters and inputs that no assignment could carry fail the job: at the limit it runs, one byte over it does not', async (t) => {
  const output = (bytes: number): Payload => ({ encoding: 'json', data: new Uint8Array(bytes).fill(0x20) });
  const parameters: Template = { kind: 'static', payload: { encoding: 'json', data: new Uint8Array(100) } };
  // Two inputs whose names have one character.
  const names = 2 * (44 + 3);
  for (const [over, phase] of [
    [0, 'READY'],
    [1, 'FAILED'],
  ] as const) {
    const { run, job } = begin('a.ok->c, b.ok->c', { jobs: { c: { parameters } } });
    run.assign(job('a'));
    run.succeed(job('a'), output(200));
    run.assign(job('b'));
    run.succeed(job('b'), output(limits.assignmentBytes - 300 - names + over));
    t.equal(run.state.jobs[job('c')].phase, phase);
    if (over > 0) t.match(run.state.jobs[job('c')].error, { code: 'INPUT_TOO_LARGE', retryable: false });
  }
});
