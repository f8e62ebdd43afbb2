/**
 * The client library and the builder, against a server in this process: errors, retries, watches, waits, sources.
 */
import { spawnSync } from 'node:child_process';
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError, createRouterTransport, type ServiceImpl } from '@connectrpc/connect';
import { compile } from '@workflow-orchestrator/engine/definition';
import {
  DefinitionProblemsSchema,
  DefinitionService,
  Durability,
  ErrorInfoSchema,
  FieldViolationsSchema,
  JobSchema,
  LogLineSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
  SystemService,
  WatchWorkflowResponseSchema,
  WorkerSchema,
  WorkerService,
  Workflow_Status,
  WorkflowEventSchema,
  WorkflowSchema,
  WorkflowService,
} from '@workflow-orchestrator/proto';
import { expr, isEnded, type WatchStep, WorkflowClient, WorkflowError, workflow, workflowStatusName } from '@workflow-orchestrator/sdk';
import fc from 'fast-check';
import t from 'tap';
import { parse } from 'yaml';
import { toYaml } from '../../sdk/builder/yaml.ts';
import { toWorkflowError } from '../../sdk/client/error.ts';
import { attemptMs, backoff, defaultRetry, nextAttempt } from '../../sdk/client/retry.ts';
import { cutBatches, prepareSubmit } from '../../sdk/client/submit.ts';
import { httpAddress } from '../../sdk/client/transport.ts';

/** Time that passes only by sleeping, and chance that is always in the middle. */
function testClock() {
  let now = 0;
  const slept: number[] = [];
  return {
    slept,
    now: () => now,
    chance: () => 0.5,
    sleep: async (delayMs: number) => {
      slept.push(delayMs);
      now += delayMs;
    },
  };
}

/** Every item of a list. */
async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** A client of an in-process server that implements what is given. */
function clientOf(workflows: Partial<ServiceImpl<typeof WorkflowService>>, more: Parameters<typeof createRouterTransport>[0] = () => {}) {
  const clock = testClock();
  const transport = createRouterTransport((router) => {
    router.service(WorkflowService, workflows);
    more(router);
  });
  return { clock, client: new WorkflowClient('http://test.invalid', { transport, clock }) };
}

const unavailable = () => new ConnectError('no room', Code.Unavailable);
const retryInfo = (seconds: bigint) =>
  new ConnectError('later', Code.ResourceExhausted, undefined, [{ desc: RetryInfoSchema, value: { retryDelay: { seconds, nanos: 0 } } }]);
const running = (lastEventSeq = 1n) => create(WorkflowSchema, { id: 'w1', status: Workflow_Status.RUNNING, lastEventSeq });
const succeeded = (lastEventSeq = 3n) => create(WorkflowSchema, { id: 'w1', status: Workflow_Status.SUCCEEDED, lastEventSeq });
const event = (seq: bigint, kind: 'submitted' | 'started' | 'ended' = 'started') =>
  create(WatchWorkflowResponseSchema, {
    item: { case: 'event', value: create(WorkflowEventSchema, { seq, kind: { case: kind, value: {} } }) },
  });
const liveJob = () => create(WatchWorkflowResponseSchema, { item: { case: 'jobUpdate', value: { id: 'a', progress: 0.5 } } });

t.test('errors keep everything the server said', async (t) => {
  const error = toWorkflowError(
    new ConnectError('definition refused', Code.InvalidArgument, undefined, [
      { desc: DefinitionProblemsSchema, value: { problems: [{ line: 3, column: 5, rule: 'cycle', message: 'a -> a' }] } },
      { desc: FieldViolationsSchema, value: { violations: [{ field: 'labels', description: 'at most 32' }] } },
      { desc: ResourceInfoSchema, value: { resourceType: 'workflow', resourceName: 'w1' } },
      { desc: ErrorInfoSchema, value: { reason: 'LIMIT_EXCEEDED', metadata: { max: '32' } } },
      { desc: RetryInfoSchema, value: { retryDelay: { seconds: 1n, nanos: 500_000_000 } } },
    ]),
  );
  t.ok(error instanceof WorkflowError && error instanceof Error);
  t.match(error, {
    code: 'invalid_argument',
    message: 'definition refused',
    reason: 'LIMIT_EXCEEDED',
    metadata: { max: '32' },
    problems: [{ line: 3, rule: 'cycle' }],
    violations: [{ field: 'labels' }],
    resource: { type: 'workflow', name: 'w1' },
    retryDelayMs: 1500,
  });
  t.equal(toWorkflowError(error), error);
  t.equal(toWorkflowError(new Error('odd')).code, 'unknown');
});

t.test('when a call is sent again', async (t) => {
  const decide = (error: WorkflowError, repeatable: 'repeatable' | 'once', remainingMs: number, round: number, others: number) =>
    nextAttempt(defaultRetry, { error, round, others, askedMs: error.retryDelayMs ?? 0, repeatable, remainingMs, chance: 1 });
  /** The pause before the next round, at one address. */
  const failed = (error: WorkflowError, repeatable: 'repeatable' | 'once' = 'repeatable', remainingMs = 10_000, round = 1) => {
    const next = decide(error, repeatable, remainingMs, round, 0);
    return next.kind === 'again' ? next.delayMs : null;
  };
  const refused = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' });
  t.equal(failed(new WorkflowError('unavailable', 'x')), 100);
  t.equal(failed(new WorkflowError('unavailable', 'x'), 'once'), null, 'it may have had an effect');
  t.equal(failed(new WorkflowError('unavailable', 'x', { cause: refused }), 'once'), 100, 'it never left');
  t.equal(failed(new WorkflowError('unavailable', 'x', { cause: new AggregateError([refused]) }), 'once'), 100);
  t.equal(failed(new WorkflowError('resource_exhausted', 'x', { retryDelayMs: 700 }), 'once'), 700, 'the server says it had none');
  t.equal(failed(new WorkflowError('resource_exhausted', 'x', { retryDelayMs: 700 }), 'once', 600), null, 'beyond the deadline');
  t.equal(failed(new WorkflowError('resource_exhausted', 'x')), null);
  t.equal(failed(new WorkflowError('invalid_argument', 'x')), null);
  t.equal(failed(new WorkflowError('unavailable', 'x'), 'repeatable', 10_000, 5), null, 'attempts are bounded');
  t.equal(failed(new WorkflowError('deadline_exceeded', 'x')), null);

  /** With an address that was not asked yet. */
  const elsewhere = (error: WorkflowError, repeatable: 'repeatable' | 'once' = 'repeatable', remainingMs = 10_000) =>
    decide(error, repeatable, remainingMs, 5, 1).kind;
  t.equal(elsewhere(new WorkflowError('unavailable', 'x')), 'elsewhere', 'in the last round too');
  t.equal(elsewhere(new WorkflowError('deadline_exceeded', 'x')), 'elsewhere', 'it is silent');
  t.equal(
    elsewhere(new WorkflowError('unavailable', 'x', { retryDelayMs: 60_000 }), 'once'),
    'elsewhere',
    'a pause is for the one that asked',
  );
  t.equal(elsewhere(new WorkflowError('unavailable', 'x', { cause: refused }), 'once'), 'elsewhere');
  t.equal(elsewhere(new WorkflowError('unavailable', 'x'), 'once'), 'none', 'it may have had an effect');
  t.equal(elsewhere(new WorkflowError('deadline_exceeded', 'x'), 'once'), 'none');
  t.equal(elsewhere(new WorkflowError('unavailable', 'x'), 'repeatable', 0), 'none', 'no time left');
  const full = new WorkflowError('resource_exhausted', 'x', { retryDelayMs: 700 });
  t.same(decide(full, 'repeatable', 10_000, 1, 1), { kind: 'again', delayMs: 700 }, 'no room is no reason to go to one that stands by');
  t.equal(elsewhere(new WorkflowError('not_found', 'x')), 'none');
  t.equal(attemptMs(9_000, 'repeatable', 2), 3_000, 'a silent host leaves time for the others');
  t.equal(attemptMs(9_000, 'once', 2), 9_000);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 60 }), fc.double({ min: 0, max: 1, noNaN: true }), (failures, chance) => {
      const delayMs = backoff(defaultRetry, failures, chance);
      return delayMs >= 50 && delayMs <= defaultRetry.maxDelayMs;
    }),
  );
});

t.test('reads are repeated, refusals are not', async (t) => {
  let calls = 0;
  const { client, clock } = clientOf({
    getWorkflow() {
      calls += 1;
      if (calls === 1) throw unavailable();
      if (calls === 2) throw retryInfo(1n);
      return { workflow: running() };
    },
    getJob() {
      calls += 1;
      throw new ConnectError('no job', Code.NotFound, undefined, [
        { desc: ResourceInfoSchema, value: { resourceType: 'job', resourceName: 'x' } },
      ]);
    },
  });
  const workflow = await client.get('w1');
  t.equal(workflowStatusName(workflow.status), 'RUNNING');
  t.same(clock.slept, [75, 1000]);
  calls = 0;
  await t.rejects(client.job('w1', 'x'), { code: 'not_found', resource: { type: 'job', name: 'x' } });
  t.equal(calls, 1);
});

t.test('a submit is repeated with the same made-up key only', async (t) => {
  const keys: string[] = [];
  const { client } = clientOf({
    submitWorkflow(request) {
      keys.push(request.idempotencyKey);
      if (keys.length % 2 === 1) throw unavailable();
      return { workflow: { id: 'w1', labels: request.labels, inputs: request.inputs ?? {} } };
    },
  });
  const made = await client.submitAndStartWorkflow({ yaml: 'workflow: {}' }, { inputs: { n: 1 }, labels: { team: 'a' } });
  t.match(made, { id: 'w1', inputs: { n: 1 }, labels: { team: 'a' } });
  t.equal(keys.length, 2);
  t.match(keys[0], /^auto-[0-9a-f]{32}$/);
  t.equal(keys[0], keys[1]);
  keys.length = 0;
  await t.rejects(client.submitWorkflow(`workflow:\n  idempotency_key: "${expr('inputs.id')}"`), { code: 'unavailable' });
  t.same(keys, [''], "a definition's own key is not displaced, and the submit not repeated");
  keys.length = 0;
  await client.submitWorkflow({ definitionName: 'x' }, { idempotencyKey: 'mine' });
  t.same(keys, ['mine', 'mine']);
});

t.test('a refusal says that nothing was done only when no try before it may have done it', async (t) => {
  let calls = 0;
  const { client } = clientOf({
    submitWorkflow() {
      calls += 1;
      if (calls === 1) throw unavailable();
      throw retryInfo(1n);
    },
  });
  const source = { yaml: 'workflow: {}' };
  await t.rejects(client.submitWorkflow(source), {
    code: 'resource_exhausted',
    retryDelayMs: null,
    message: /an earlier try may have taken effect/,
  });
  t.equal(calls, 5);
  await t.rejects(client.submitWorkflow(source), { code: 'resource_exhausted', retryDelayMs: 1000 }, 'each of its tries was refused');
});

t.test('a steering call that was repeated finds what it had done', async (t) => {
  let cancels = 0;
  const ended = () => new ConnectError('ended', Code.FailedPrecondition);
  const { client } = clientOf({
    cancelWorkflow() {
      cancels += 1;
      throw cancels === 1 ? unavailable() : ended();
    },
    startWorkflow() {
      throw ended();
    },
    getWorkflow: () => ({ workflow: succeeded() }),
  });
  t.equal((await client.cancel('w1', { reason: 'why', force: true })).id, 'w1');
  await t.rejects(client.start('w1'), { code: 'failed_precondition' }, 'not after a first attempt');
});

t.test('deadlines and signals end a call', async (t) => {
  const { client, clock } = clientOf({
    getWorkflow() {
      throw retryInfo(4n);
    },
    pauseWorkflow: (_, context) =>
      new Promise((_resolve, reject) => context.signal.addEventListener('abort', () => reject(new Error('gone')))),
  });
  await t.rejects(client.get('w1', { timeoutMs: 9_000 }), { code: 'resource_exhausted', retryDelayMs: 4000 });
  t.same(clock.slept, [4000, 4000]);
  const abort = new AbortController();
  const call = client.pause('w1', { signal: abort.signal, timeoutMs: 200 });
  abort.abort();
  await t.rejects(call, { code: 'canceled' });
  await t.rejects(client.get('w1', { signal: abort.signal }), { code: 'canceled' });
});

t.test('a watch is gap-free over broken connections and ends with the end', async (t) => {
  const asked: bigint[] = [];
  const { client, clock } = clientOf({
    async *watchWorkflow({ afterSeq }) {
      asked.push(afterSeq);
      if (asked.length === 1) {
        yield event(1n, 'submitted');
        yield liveJob();
        throw unavailable();
      }
      if (asked.length === 2) yield event(4n, 'ended'); // a gap: not passed on
      if (asked.length === 3) {
        yield event(1n); // seen before
        yield event(2n);
        return; // ends without the end
      }
      if (asked.length === 4) {
        yield event(3n);
        yield event(4n, 'ended');
        throw new Error('nobody reads this');
      }
    },
    getWorkflow: () => ({ workflow: running(4n) }),
  });
  const failures: string[] = [];
  const steps: WatchStep[] = [];
  for await (const step of client.watch('w1', { onReconnect: (failure) => failures.push(failure.code) })) steps.push(step);
  t.same(
    steps.map((step) => (step.kind === 'event' ? step.event.seq : step.job.id)),
    [1n, 'a', 2n, 3n, 4n],
  );
  t.same(asked, [0n, 1n, 1n, 2n]);
  t.same(failures, ['unavailable', 'data_loss', 'unavailable']);
  t.same(clock.slept, [75, 150, 75], 'back-off grows until something is heard');
});

t.test('a watch from the end on ends, one of nothing throws, a dead server is given up', async (t) => {
  const ended = clientOf({ async *watchWorkflow() {}, getWorkflow: () => ({ workflow: succeeded(3n) }) }).client;
  for await (const _ of ended.watch('w1', { afterSeq: 3n })) t.fail('nothing to see');
  const now = clientOf({
    async *watchWorkflow({ follow }) {
      t.equal(follow, false);
      yield event(1n);
    },
  }).client;
  let seen = 0;
  for await (const _ of now.watch('w1', { follow: false })) seen += 1;
  t.equal(seen, 1);
  const next = (client: WorkflowClient, options = {}) => client.watch('w1', options).next();
  const unknown = clientOf({
    // biome-ignore lint/correctness/useYield: it throws before it has anything to yield
    async *watchWorkflow() {
      throw new ConnectError('no workflow w1', Code.NotFound);
    },
  }).client;
  await t.rejects(next(unknown), { code: 'not_found' });
  const dead = clientOf({
    // biome-ignore lint/correctness/useYield: it throws before it has anything to yield
    async *watchWorkflow() {
      throw unavailable();
    },
  });
  await t.rejects(next(dead.client, { giveUpAfterMs: 30_000 }), { code: 'unavailable' });
  t.ok(dead.clock.now() >= 30_000 && dead.clock.now() < 40_000);
});

t.test('waiting for an end, a status or a test', async (t) => {
  let seq = 1n;
  const { client } = clientOf({
    getWorkflow: () => ({ workflow: seq < 3n ? running(seq) : succeeded(seq) }),
    async *watchWorkflow({ afterSeq }) {
      for (let next = afterSeq + 1n; next <= 3n; next += 1n) {
        seq = next;
        yield event(next, next === 3n ? 'ended' : 'started');
      }
    },
  });
  t.ok(isEnded(await client.waitFor('w1')));
  seq = 1n;
  t.equal((await client.waitFor('w1', { until: 'RUNNING' })).lastEventSeq, 1n);
  t.equal((await client.waitFor('w1', { until: (workflow) => workflow.lastEventSeq >= 2n })).id, 'w1');
  seq = 1n;
  await t.rejects(client.waitFor('w1', { until: ['FAILED', 'CANCELLED'] }), { code: 'failed_precondition', message: /ended SUCCEEDED/ });
  const silent = clientOf({
    getWorkflow: () => ({ workflow: running() }),
    async *watchWorkflow(_, context) {
      yield event(2n);
      await new Promise((_resolve, reject) => context.signal.addEventListener('abort', reject));
    },
  }).client;
  await t.rejects(silent.waitFor('w1', { timeoutMs: 20 }), { code: 'deadline_exceeded' });
  await t.rejects(silent.waitFor('w1', { signal: AbortSignal.abort() }), { code: 'canceled' });
  for (const timeoutMs of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
    await t.rejects(silent.waitFor('w1', { timeoutMs }), { name: 'WorkflowError', code: 'invalid_argument', message: /from 0 to/ });
  }
});

t.test('a wait with a deadline keeps its process until it is over', async (t) => {
  const program = `
    import { createRouterTransport } from '@connectrpc/connect';
    import { WorkflowService } from '@workflow-orchestrator/proto';
    import { WorkflowClient } from '@workflow-orchestrator/sdk';
    const transport = createRouterTransport(({ service }) => service(WorkflowService, {
      getWorkflow: () => ({ workflow: { id: 'w1' } }),
      async *watchWorkflow(_, { signal }) {
        await new Promise((_resolve, reject) => signal.addEventListener('abort', reject));
      },
    }));
    const client = new WorkflowClient('http://test.invalid', { transport });
    client.waitFor('w1', { timeoutMs: 20 }).catch((error) => console.log(error.code));
  `;
  const args = ['--conditions=workflow-orchestrator', '--input-type=module', '--eval', program];
  const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: import.meta.dirname, encoding: 'utf8' });
  t.same({ stdout, stderr }, { stdout: 'deadline_exceeded\n', stderr: '' });
});

t.test('logs go on after a broken connection, each line once', async (t) => {
  let opened = 0;
  const line = (number: number, jobId = 'a') => create(LogLineSchema, { jobId, attempt: 1, number, message: `${jobId}${number}` });
  const { client } = clientOf({
    async *readLogs(request) {
      t.match(request, { workflowId: 'w1', follow: true });
      opened += 1;
      yield { lines: [line(1), line(2), line(1, 'b')] };
      if (opened === 1) throw unavailable();
      yield { lines: [line(3)] };
    },
  });
  const lines: string[] = [];
  for await (const { message } of client.logs('w1', { follow: true })) lines.push(message);
  t.same(lines, ['a1', 'a2', 'b1', 'a3']);
});

t.test('lines of one connection are all told: an attempt offered twice, lines without numbers', async (t) => {
  const line = (number: number, message: string) => create(LogLineSchema, { jobId: 'a', attempt: 1, number, message });
  const { client } = clientOf({
    async *readLogs() {
      yield { lines: [line(1, 'one'), line(2, 'two'), line(1, 'one again'), line(0, 'bare')] };
    },
  });
  const lines: string[] = [];
  for await (const { message } of client.logs('w1')) lines.push(message);
  t.same(lines, ['one', 'two', 'one again', 'bare']);
});

t.test('lists read page after page', async (t) => {
  const requests: object[] = [];
  const { client } = clientOf(
    {
      listWorkflows(request) {
        requests.push(request);
        return request.pageToken === '' ? { workflows: [running()], nextPageToken: 'p2' } : { workflows: [succeeded()] };
      },
      listJobs: ({ pageToken }) =>
        pageToken === '' ? { jobs: [create(JobSchema, { id: 'a' })], nextPageToken: 'n' } : { jobs: [{ id: 'b' }] },
      listAttempts: () => ({ attempts: [{ number: 1 }] }),
      batchSubmitWorkflows: ({ requests }) => ({
        results: requests.map((request) =>
          request.start ? { workflowId: 'w', durability: Durability.DURABLE } : { errorCode: 'invalid_argument', errorMessage: 'bad' },
        ),
      }),
    },
    (router) => {
      router.service(WorkerService, {
        listWorkers: () => ({ workers: [create(WorkerSchema, { id: 'k1' })] }),
        drainWorker: ({ workerId }) => ({ worker: { id: workerId } }),
      });
      router.service(SystemService, { getInfo: () => ({ version: '1' }) });
      router.service(DefinitionService, {
        listDefinitions: () => ({ definitions: [{ name: 'd' }] }),
        getDefinition: ({ hash }) => ({ definition: { hash } }),
        registerDefinition: ({ yaml }) => ({ definition: { yaml }, existed: true }),
        validateDefinition: () => ({ valid: false, problems: [{ line: 1 }] }),
      });
    },
  );
  const after = new Date(0);
  const filter = { status: 'RUNNING', name: 'n', labels: { a: 'b' }, submittedAfter: after, pageSize: 1 } as const;
  t.equal((await all(client.list(filter))).length, 2);
  t.match(requests, [{ status: [Workflow_Status.RUNNING], name: 'n', label: ['a=b'], pageSize: 1, pageToken: '' }, { pageToken: 'p2' }]);
  t.match(await client.listPage({ pageToken: 'p2' }), { items: [{ id: 'w1' }], nextPageToken: '' });
  t.same(
    (await all(client.jobs('w1', { status: ['FAILED'] }))).map((job) => job.id),
    ['a', 'b'],
  );
  t.equal((await client.attempts('w1', 'a'))[0].number, 1);
  t.equal((await all(client.workers()))[0].id, 'k1');
  t.equal((await client.drainWorker('k1')).id, 'k1');
  t.equal((await client.info()).version, '1');
  t.equal((await all(client.definitions()))[0].name, 'd');
  t.equal((await client.definition('abc')).hash, 'abc');
  t.match(await client.register('workflow: {}'), { definition: { yaml: 'workflow: {}' }, existed: true });
  t.equal((await client.validate({ yaml: '' })).valid, false);
  const source = { yaml: 'workflow: {}' };
  t.match(await client.submitBatch([{ source, start: true }, { source }]), [
    { kind: 'accepted', workflowId: 'w' },
    { kind: 'refused', code: 'invalid_argument', message: 'bad' },
  ]);
});

t.test('batches are cut by number and size', async (t) => {
  const prepared = await Promise.all(['a', 'b'.repeat(100), 'c', 'd'].map((yaml) => prepareSubmit({ yaml }, {}, () => 'k')));
  t.same(
    cutBatches(prepared, 3).map((batch) => batch.length),
    [3, 1],
  );
  t.same(
    cutBatches(prepared, 10, 60).map((batch) => batch.length),
    [1, 1, 2],
  );
  t.same(cutBatches([]), []);
});

t.test('sources: text, file, builder, and what is none', async (t) => {
  const dir = t.testdir({ 'flow.yaml': 'workflow: { name: from-file }' });
  const text = async (source: Parameters<typeof prepareSubmit>[0]) => (await prepareSubmit(source, {}, () => 'k')).request.source.value;
  t.equal(await text(`${dir}/flow.yaml`), 'workflow: { name: from-file }');
  t.equal(await text({ file: `${dir}/flow.yaml` }), 'workflow: { name: from-file }');
  t.equal(await text('workflow: { name: x }'), 'workflow: { name: x }');
  t.equal(await text('{"workflow": {}}'), '{"workflow": {}}');
  t.equal(await text(workflow('x')), 'workflow:\n  name: x\n  jobs: []\n');
  t.equal(await text({ definitionHash: 'abc' }), 'abc');
  await t.rejects(text(`${dir}/none.yaml`), { code: 'not_found', message: /no file/ });
  await t.rejects(text(dir), { code: 'invalid_argument', message: /cannot read/ });
  await t.rejects(text({} as never), { code: 'invalid_argument' });
  await t.rejects(text(''), { code: 'invalid_argument', message: /source of the workflow is empty/ });
  await t.rejects(text({ file: '' }), { code: 'invalid_argument', message: /source of the workflow is empty/ });
});

t.test('addresses in every form', async (t) => {
  t.equal(httpAddress('http://localhost:8000/'), 'http://localhost:8000');
  t.equal(httpAddress('ws://localhost:8000/workers'), 'http://localhost:8000');
  t.equal(httpAddress('wss://h/base/workers'), 'https://h/base');
  t.equal(httpAddress('https://h/base/'), 'https://h/base');
  t.equal(httpAddress('/'), '/');
  for (const bad of ['localhost:8000', 'nonsense', 'ftp://h', 'http://me:pw@h']) {
    t.throws(() => httpAddress(bad), { code: 'invalid_argument', message: /http:\/\/localhost:8000/ }, bad);
  }
});

t.test('a builder writes the file that people write', async (t) => {
  const built = workflow('data-pipeline', {
    version: '3',
    inputs: { env: { type: 'string', default: 'prod' } },
    cleanupTimeout: '5m',
    concurrency: { key: expr('inputs.env'), onLimit: 'queue' },
    defaults: { retry: { maxAttempts: 3 } },
  })
    .job('validate', {
      type: 'validation',
      parameters: { schemaName: 'input', nothing: undefined },
      onSuccess: 'process',
      onFailure: { run: ['alert'], recover: true },
    })
    .job('process', { type: 'processing', if: "inputs.env == 'prod'", timeouts: { run: '30s' }, requires: { labels: { gpuModel: 'x' } } })
    .job('save', { type: 'integration', needs: ['process', 'validate'], join: 'all_done', forEach: { items: [1], maxParallel: 2 } })
    .job('alert', { type: 'integration', alwaysRun: true, outputsSchema: { type: 'object', additionalProperties: false } });
  const expected = {
    workflow: {
      name: 'data-pipeline',
      version: '3',
      inputs: { env: { type: 'string', default: 'prod' } },
      cleanup_timeout: '5m',
      concurrency: { key: `$${'{{ inputs.env }}'}`, on_limit: 'queue' },
      defaults: { retry: { max_attempts: 3 } },
      jobs: [
        {
          id: 'validate',
          type: 'validation',
          parameters: { schemaName: 'input' },
          on_success: 'process',
          on_failure: { run: ['alert'], recover: true },
        },
        {
          id: 'process',
          type: 'processing',
          if: "inputs.env == 'prod'",
          timeouts: { run: '30s' },
          requires: { labels: { gpuModel: 'x' } },
        },
        { id: 'save', type: 'integration', needs: ['process', 'validate'], join: 'all_done', for_each: { items: [1], max_parallel: 2 } },
        { id: 'alert', type: 'integration', always_run: true, outputs_schema: { type: 'object', additionalProperties: false } },
      ],
    },
  };
  t.same(built.toDocument(), expected);
  t.same(parse(built.toYaml()), expected);
  t.same(JSON.parse(JSON.stringify(built)), expected);
  // @ts-expect-error: the id is used already
  t.throws(() => built.job('save', { type: 'x' }), /already/);
  // @ts-expect-error: no such job before this one
  workflow('x').job('a', { type: 'x', needs: 'b' });
  // @ts-expect-error: a bare number is no duration
  workflow('x').job('a', { type: 'x', timeout: '30' });
  const looped = workflow<string>('loop');
  for (let index = 0; index < 3; index += 1) looped.job(`j${index}`, index === 0 ? { type: 'x' } : { type: 'x', needs: `j${index - 1}` });
  t.equal(looped.toDocument().workflow.jobs.length, 3);
});

t.test('a builder and a file make the same definition', async (t) => {
  const hashOf = (source: string) => {
    const result = compile(source);
    return result.kind === 'ok' ? result.graph.hash : result.problems;
  };
  const built = workflow('pipeline', { inputs: { env: { type: 'string', default: 'prod' } } })
    .job('a', { type: 'validation', onFailure: 'c', retry: { maxAttempts: 3, initialDelay: '1s' }, timeout: '30s' })
    .job('b', { type: 'processing', needs: 'a', if: "inputs.env == 'prod'", parameters: { data: expr('jobs.a.output') } })
    .job('c', { type: 'cleanup', alwaysRun: true });
  const file = `
workflow:
  name: pipeline # comments and order of keys make no difference
  jobs:
    - { id: a, type: validation, timeout: 30s, on_failure: c, retry: { initial_delay: 1s, max_attempts: 3 } }
    - id: b
      if: inputs.env == 'prod'
      type: processing
      needs: a
      parameters: { data: "${expr('jobs.a.output')}" }
    - { id: c, type: cleanup, always_run: true }
  inputs:
    env: { default: prod, type: string }
`;
  t.match(hashOf(file), /^[0-9a-f]{64}$/);
  t.equal(hashOf(built.toYaml()), hashOf(file));
  t.equal(hashOf(JSON.stringify(built)), hashOf(file));
});

t.test('YAML that a builder writes reads back as it was', async (t) => {
  fc.assert(
    fc.property(fc.jsonValue({ depthSize: 'medium' }), (value) => {
      const text = toYaml(value as never);
      return JSON.stringify(parse(text)) === JSON.stringify(JSON.parse(JSON.stringify(value)));
    }),
    { numRuns: 300 },
  );
  t.same(parse(toYaml({ a: 'yes', b: '1', c: '', d: 'x: y', e: ['- z', null], 'key: odd': { '~': 1.5 } })), {
    a: 'yes',
    b: '1',
    c: '',
    d: 'x: y',
    e: ['- z', null],
    'key: odd': { '~': 1.5 },
  });
});
