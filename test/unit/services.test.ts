/**
 * Behind the faces: definitions, submissions, what clients are shown; and the service methods over a shard without sockets.
 */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  BatchSubmitWorkflowsRequestSchema,
  Durability,
  GetJobRequestSchema,
  GetWorkflowRequestSchema,
  Job_SkipReason,
  Job_Status,
  ListAttemptsRequestSchema,
  ListDefinitionsRequestSchema,
  ListJobsRequestSchema,
  ListWorkflowsRequestSchema,
  LogLineSchema,
  ReadLogsRequestSchema,
  RegisterDefinitionRequestSchema,
  SubmitWorkflowRequestSchema,
  WatchWorkflowRequestSchema,
  Workflow_Status,
} from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import t from 'tap';
import type { CallContext } from '../../coordinator/api/context.ts';
import { definitionService } from '../../coordinator/api/services/definition-service.ts';
import { type DefinitionBounds, Definitions } from '../../coordinator/api/services/definitions.ts';
import { Logs } from '../../coordinator/api/services/logs.ts';
import { OpenStreams } from '../../coordinator/api/services/open-streams.ts';
import { pageTokenOf } from '../../coordinator/api/services/pages.ts';
import { readLogs } from '../../coordinator/api/services/read-logs.ts';
import { Reader } from '../../coordinator/api/services/reader.ts';
import { renderAttempts, renderJob, renderWorkflow } from '../../coordinator/api/services/render.ts';
import { Submissions } from '../../coordinator/api/services/submissions.ts';
import { workflowService } from '../../coordinator/api/services/workflow-service.ts';
import { MemoryJournal, MemoryStore } from '../../coordinator/store/memory/memory.ts';
import type { Store } from '../../coordinator/store/store.ts';
import { CheckedRun } from '../engine-support/checked-run.ts';
import { graphOf, json } from '../engine-support/graphs.ts';
import { jobError } from '../engine-support/run.ts';
import { failureOf } from '../shard-support/failure.ts';
import { ShardWorld } from '../shard-support/world.ts';

const simple = `workflow:
  name: simple
  inputs: { limit: { type: integer, default: 10 } }
  jobs: [{ id: a, type: work }]
`;

const unheard: CallContext = { signal: new AbortController().signal, face: 'rest', header: () => null };

function lineOf(message: string, number: number, over: MessageInitShape<typeof LogLineSchema> = {}) {
  return create(LogLineSchema, { leaseToken: 't1', workflowId: 'wf', jobId: 'a', attempt: 1, message, number, ...over });
}

/** Definitions of a store, read. */
async function opened(...[store, now, bounds]: [Store, () => number, Partial<DefinitionBounds>?]): Promise<Definitions> {
  const definitions = Definitions.away(store, now, 'not read yet', bounds);
  await definitions.load();
  return definitions;
}

async function servicesOver(world: ShardWorld, logs = new Logs()) {
  const definitions = await opened(new MemoryStore(new MemoryJournal()), () => world.now);
  let ids = 0;
  const submissions = new Submissions(definitions, () => `id-${String(++ids).padStart(4, '0')}`);
  const { methods } = workflowService({ shard: world.shard, submissions, logs });
  const ask = async <T>(call: Promise<T>): Promise<T> => {
    call.catch(() => {});
    for (let i = 0; i < 3; i++) await world.settle();
    return await call;
  };
  return { methods, definitions, submissions, logs, ask };
}

// --- definitions and submissions -----------------------------------------------------------------------------------------

t.test('what a store has lost is stored again, though this process knew it', async (t) => {
  const journal = new MemoryJournal();
  const store = new MemoryStore(journal);
  const definitions = await opened(store, () => 5);
  t.match(await definitions.submitted(simple), { kind: 'ok', existed: false });
  t.match(await definitions.submitted(simple), { kind: 'ok', existed: true });
  // Emptied, or a copy took over that had not got it yet; then the shard is acquired and read anew.
  journal.definitions.clear();
  await definitions.load();
  t.match(await definitions.submitted(simple), { kind: 'ok', existed: false });
  t.equal(journal.definitions.size, 1);

  const put = store.putDefinition.bind(store);
  store.putDefinition = async (definition) => {
    const kept = await put(definition);
    journal.definitions.clear();
    await definitions.load();
    return kept;
  };
  const other = simple.replace('simple', 'other');
  t.match(await failureOf(definitions.submitted(other)), { code: 'Unavailable', reason: 'STANDBY' }, 'it was lost while it was stored');
  store.putDefinition = put;
  t.match(await definitions.submitted(other), { kind: 'ok', existed: false });
  t.equal(journal.definitions.size, 1);
});

t.test('a definition is kept once, whatever its layout; the answer says whether it was there', async (t) => {
  const store = new MemoryStore(new MemoryJournal());
  const definitions = await opened(store, () => 5);
  const register = async (yaml: string) => {
    const received = await definitions.register(yaml);
    if (received.kind === 'bad') throw new Error(received.problems[0].message);
    return { ...received.known, existed: received.existed };
  };
  const [first, same] = await Promise.all([register(simple), register(simple)]);
  t.equal(first.existed, false);
  t.equal((await register(simple)).existed, true);
  const other = await register(`# another layout\n${simple.replace('limit: {', 'limit:  {')}`);
  t.equal(other.existed, true, 'the same content');
  t.equal(other.graph, first.graph, 'one graph');
  t.equal(same.graph.hash, first.graph.hash);
  t.match(await definitions.register('workflow: {}'), { kind: 'bad' });
  const again = await opened(store, () => 6);
  t.equal(again.byHash(first.graph.hash)?.stored.registeredAt, 5);
  t.equal(again.latest('simple')?.graph.hash, first.graph.hash);
});

t.test('a submit changes no name, and what was only submitted is forgotten first', async (t) => {
  const definitions = await opened(new MemoryStore(), () => 7, { compiledJobs: 2, registeredDefinitions: 1 });
  const text = (value: number) => simple.replace('default: 10', `default: ${value}`);
  const hashOf = async (received: ReturnType<Definitions['register']>) => {
    const answer = await received;
    return answer.kind === 'ok' ? answer.known.graph.hash : 'bad';
  };
  const registered = await hashOf(definitions.register(text(1)));
  const submitted = await hashOf(definitions.submitted(text(2)));
  t.equal(definitions.latest('simple')?.graph.hash, registered, 'the name means what was registered');
  t.same(
    definitions.list('', '', 10).map(({ graph }) => graph.hash),
    [registered],
  );
  t.equal(definitions.byHash(submitted)?.stored.registeredAt, 0);
  for (let value = 3; value < 6; value++) await definitions.submitted(text(value));
  t.equal(definitions.byHash(submitted), undefined, 'the graphs are bounded');
  t.equal(definitions.byHash(registered)?.graph.hash, registered, 'a registered one is compiled again');
  t.match(await failureOf(definitions.register(text(9))), { code: 'ResourceExhausted' });
  t.equal(await hashOf(definitions.register(text(1))), registered, 'again is no new one');
});

t.test('definitions by name: the newest first; the last one registered is the one that a name means', async (t) => {
  const definitions = await opened(new MemoryStore(), () => 1);
  const service = definitionService(definitions).methods;
  const versions: string[] = [];
  for (const [name, count] of [
    ['b', 3],
    ['a', 2],
  ] as const) {
    for (let version = 0; version < count; version++) {
      const yaml = simple.replace('simple', name).replace('default: 10', `default: ${version}`);
      const { definition } = await service.registerDefinition(create(RegisterDefinitionRequestSchema, { yaml }), unheard);
      versions.push(`${name}${definition?.hash}`);
    }
  }
  t.equal(`b${definitions.latest('b')?.graph.hash}`, versions[2]);
  t.equal(definitions.latest('nobody'), undefined);
  const list = async (pageToken = '', name = '', pageSize = 2) => {
    const reply = await service.listDefinitions(create(ListDefinitionsRequestSchema, { name, pageSize, pageToken }), unheard);
    return { hashes: reply.definitions.map((definition) => `${definition.name}${definition.hash}`), next: reply.nextPageToken };
  };
  const first = await list();
  const second = await list(first.next);
  const third = await list(second.next);
  t.same([...first.hashes, ...second.hashes, ...third.hashes], [versions[4], versions[3], versions[2], versions[1], versions[0]]);
  t.equal(third.next, '');
  t.same((await list('', 'b', 10)).hashes, [versions[2], versions[1], versions[0]]);
  t.match(await failureOf(list(pageTokenOf('definitions', 'gone'))), { code: 'InvalidArgument', field: 'page_token' });
  t.match(await failureOf(list(first.next, 'b')), { code: 'InvalidArgument' }, 'a token of the list of another name');
});

t.test('a submission is checked before it is one: definition, inputs, size, key', async (t) => {
  const definitions = await opened(new MemoryStore(), () => 1);
  let ids = 0;
  const submissions = new Submissions(definitions, () => `id${++ids}`);
  const prepare = (request: MessageInitShape<typeof SubmitWorkflowRequestSchema>) =>
    submissions.prepare(create(SubmitWorkflowRequestSchema, request));
  const yaml = { case: 'yaml' as const, value: simple };
  const make = await prepare({ source: yaml, start: true, labels: { team: 'blue' } });
  t.match(make(), { workflowId: 'id1', start: true, labels: { team: 'blue' }, idempotencyKey: '', requestHash: '' });
  t.same(JSON.parse(new TextDecoder().decode(make().inputs.data)), { limit: 10 }, 'with the default');
  t.match(
    await failureOf(prepare({ source: { case: 'definitionName', value: 'simple' } })),
    { code: 'NotFound' },
    'a submit registers nothing',
  );
  await definitions.register(simple);
  t.match(await prepare({ source: { case: 'definitionName', value: 'simple' } }).then((found) => found().graph.name), 'simple');

  t.match(await failureOf(prepare({})), { code: 'InvalidArgument', field: 'source' });
  t.match(await failureOf(prepare({ source: { case: 'definitionName', value: 'nobody' } })), {
    code: 'NotFound',
    message: /definition 'nobody'/,
  });
  t.match(await failureOf(prepare({ source: { case: 'definitionHash', value: 'ff' } })), { code: 'NotFound' });
  t.match(await failureOf(prepare({ source: { case: 'yaml', value: 'workflow: {}' } })), {
    code: 'InvalidArgument',
    reason: 'BAD_DEFINITION',
  });
  t.match(await failureOf(prepare({ source: yaml, inputs: { limit: 'many' } })), { code: 'InvalidArgument', reason: 'BAD_INPUTS' });

  const open = {
    case: 'yaml' as const,
    value: 'workflow:\n  name: open\n  inputs: { text: { type: string } }\n  jobs: [{ id: a, type: work }]\n',
  };
  const room = limits.inputsBytes - '{"text":""}'.length;
  t.match(await failureOf(prepare({ source: open, inputs: { text: 'x'.repeat(room + 1) } })), {
    reason: 'BAD_INPUTS',
    message: /inputsBytes/,
  });
  t.equal((await prepare({ source: open, inputs: { text: 'x'.repeat(room) } }))().inputs.data.length, limits.inputsBytes);

  const keyed = { case: 'yaml' as const, value: open.value.replace('name: open', 'name: keyed\n  idempotency_key: "${{ inputs.text }}"') };
  t.equal((await prepare({ source: keyed, inputs: { text: 'order-1' } }))().idempotencyKey, 'order-1');
  t.equal((await prepare({ source: keyed, inputs: { text: 'order-1' }, idempotencyKey: 'mine' }))().idempotencyKey, 'mine');
  const key = 'x'.repeat(limits.idempotencyKeyLength);
  t.equal((await prepare({ source: keyed, inputs: { text: key } }))().idempotencyKey, key);
  t.match(await failureOf(prepare({ source: keyed, inputs: { text: `${key}x` } })), {
    code: 'InvalidArgument',
    field: 'workflow.idempotency_key',
  });
});

t.test('two requests are the same under one key when they ask for the same, in whatever order they say it', async (t) => {
  const definitions = await opened(new MemoryStore(), () => 1);
  const submissions = new Submissions(definitions, () => 'id');
  const yaml = 'workflow:\n  name: any\n  inputs: { a: { type: integer }, b: { type: object } }\n  jobs: [{ id: a, type: work }]\n';
  const hashOf = async (request: MessageInitShape<typeof SubmitWorkflowRequestSchema>): Promise<string> => {
    const source = { case: 'yaml' as const, value: yaml };
    return (await submissions.prepare(create(SubmitWorkflowRequestSchema, { source, idempotencyKey: 'k', ...request })))().requestHash;
  };
  const one = await hashOf({ inputs: { a: 1, b: { x: [1, 2], y: null } }, labels: { p: '1', q: '2' } });
  t.equal(await hashOf({ inputs: { b: { y: null, x: [1, 2] }, a: 1 }, labels: { q: '2', p: '1' } }), one);
  t.equal(
    await hashOf({
      inputs: { a: 1, b: { x: [1, 2], y: null } },
      labels: { p: '1', q: '2' },
      source: { case: 'yaml', value: `# x\n${yaml}` },
    }),
    one,
  );
  const others = [
    { inputs: { a: 1, b: { x: [2, 1], y: null } }, labels: { p: '1', q: '2' } },
    { inputs: { a: 1, b: { x: [1, 2], y: null } }, labels: { p: '1' } },
    { inputs: { a: 1, b: { x: [1, 2], y: null } }, labels: { p: '1', q: '2' }, start: true },
    { inputs: { a: 1, b: { x: [1, 2] } }, labels: { p: '1', q: '2' } },
  ];
  for (const other of others) t.not(await hashOf(other), one, JSON.stringify(other));
});

// --- what clients are shown ----------------------------------------------------------------------------------------------

t.test('a workflow as clients see it: statuses, times, counts, errors, values', async (t) => {
  const run = new CheckedRun(
    graphOf('a.ok->b, c.fail->d, e, f', { jobs: { e: { retry: { ...graphOf('e').jobs[0].retry, maxAttempts: 2 } } } }),
  );
  run.submit(true);
  run.assign(0);
  run.accept(0);
  run.now += 10;
  run.succeed(0);
  run.assign(2);
  run.accept(2);
  run.fail(2, jobError('BROKEN', { retryable: false, details: json({ row: 7 }), stack: 'secret' }));
  run.assign(4);
  run.accept(4);
  run.fail(4, jobError('BUSY'));
  run.assign(5);
  run.accept(5);
  run.send({ kind: 'beat', job: 5, token: run.lease(5).token, idleMs: 0, progress: 0.5, progressMessage: 'half', checkpoint: null });
  const shown = renderWorkflow(run.state, 'full', Durability.VOLATILE, run.now);
  t.match(shown.jobCounts, { total: 6, pending: 0, ready: 2, running: 1, retrying: 1, succeeded: 1, failed: 1, skipped: 0 });
  t.same(
    shown.jobs.map(({ id, status }) => [id, status]),
    [
      ['a', Job_Status.SUCCEEDED],
      ['b', Job_Status.READY],
      ['c', Job_Status.FAILED],
      ['d', Job_Status.READY],
      ['e', Job_Status.RETRYING],
      ['f', Job_Status.RUNNING],
    ],
  );
  const [a, , c, , e, f] = shown.jobs;
  t.same(a.output?.kind.case, 'structValue');
  t.match(c.error, { code: 'BROKEN', retryable: false });
  t.notOk(JSON.stringify(c.error).includes('secret'), 'the stack stays inside');
  t.ok(e.nextAttemptTime !== undefined && e.endTime === undefined);
  t.match(f, { progress: 0.5, progressMessage: 'half', workerId: 'w1', attempt: 1 });
  t.equal(shown.status, Workflow_Status.RUNNING);
  t.equal(shown.endTime, undefined, 'a time that is not there is not 1970');
  t.equal(renderWorkflow(run.state, 'summary', Durability.VOLATILE, run.now).jobs.length, 0);
  t.match(renderAttempts(run.state.jobs[5]), [{ number: 1, workerId: 'w1', endTime: undefined }]);
  t.match(renderAttempts(run.state.jobs[4]), [{ number: 1, error: { code: 'BUSY' } }]);
});

t.test('a skipped job is shown with its reason and the jobs that caused it', async (t) => {
  const run = new CheckedRun(graphOf('a.ok->b'));
  run.submit(true);
  run.attempt(0, 'FAILED');
  const job = renderJob(run.state, 1, run.state.jobs[1], run.now);
  t.match(job, {
    status: Job_Status.SKIPPED,
    skipReason: Job_SkipReason.UPSTREAM_FAILED,
    causes: ['a'],
    attempt: 0,
    parameters: undefined,
  });
  t.match(renderWorkflow(run.state, 'full', Durability.VOLATILE, run.now), {
    status: Workflow_Status.FAILED,
    error: { code: 'BROKEN', jobId: 'a' },
  });
});

// --- the service over a shard --------------------------------------------------------------------------------------------

t.test('a question about what is not there is answered so, and the shard goes on', async (t) => {
  const world = await ShardWorld.open();
  const { methods, ask } = await servicesOver(world);
  const id = await world.start(graphOf('a'));
  const missing = [
    ['workflow', methods.getWorkflow(create(GetWorkflowRequestSchema, { workflowId: 'nobody' }), unheard)],
    ['job', methods.getJob(create(GetJobRequestSchema, { workflowId: id, jobId: 'nobody' }), unheard)],
    ['job', methods.listAttempts(create(ListAttemptsRequestSchema, { workflowId: id, jobId: 'nobody' }), unheard)],
  ] as const;
  for (const [kind, call] of missing)
    t.match(await failureOf(ask<unknown>(call)), { code: 'NotFound', message: `there is no ${kind} 'nobody'` });
  t.match(await ask(methods.getJob(create(GetJobRequestSchema, { workflowId: id, jobId: 'a' }), unheard)), { job: { id: 'a' } });
});

t.test('jobs and workflows in pages, and tokens that nobody gave', async (t) => {
  const world = await ShardWorld.open();
  const { methods, ask } = await servicesOver(world);
  const id = await world.start(graphOf('a, b, c, d, e'));
  const jobs = (pageToken: string) =>
    ask(methods.listJobs(create(ListJobsRequestSchema, { workflowId: id, pageSize: 2, pageToken }), unheard));
  const seen: string[] = [];
  let token = '';
  do {
    const page = await jobs(token);
    seen.push(...page.jobs.map((job) => job.id));
    token = page.nextPageToken;
  } while (token !== '');
  t.same(seen, ['a', 'b', 'c', 'd', 'e']);
  for (const bad of [pageTokenOf('jobs', '-3'), pageTokenOf('jobs', 'NaN'), pageTokenOf('workflows', '1')])
    t.match(await failureOf(jobs(bad)), { code: 'InvalidArgument', field: 'page_token' });
  await world.start(graphOf('a'));
  await world.start(graphOf('a'));
  const page = await ask(methods.listWorkflows(create(ListWorkflowsRequestSchema, { pageSize: 2 }), unheard));
  t.same(
    page.workflows.map((workflow) => workflow.id),
    ['wf-000003', 'wf-000002'],
  );
  const rest = await ask(
    methods.listWorkflows(create(ListWorkflowsRequestSchema, { pageSize: 2, pageToken: page.nextPageToken }), unheard),
  );
  t.same([rest.workflows.map((workflow) => workflow.id), rest.nextPageToken], [['wf-000001'], '']);
});

t.test('a batch: each request stands for itself, under one key they are one workflow', async (t) => {
  const world = await ShardWorld.open({ bounds: { openWorkflows: 2 } });
  const { methods, ask } = await servicesOver(world);
  const source = { case: 'yaml' as const, value: simple };
  const requests = [
    { source, idempotencyKey: 'k' },
    { source: { case: 'definitionName' as const, value: 'nobody' } },
    { source, idempotencyKey: 'k' },
    { source, idempotencyKey: 'k', labels: { other: 'body' } },
    { source },
    { source },
  ];
  const { results } = await ask(methods.batchSubmitWorkflows(create(BatchSubmitWorkflowsRequestSchema, { requests }), unheard));
  t.same(
    results.map(({ workflowId, existed, errorCode }) => errorCode || `${workflowId}${existed ? ' existed' : ''}`),
    ['id-0001', 'not_found', 'id-0001 existed', 'already_exists', 'id-0004', 'resource_exhausted'],
  );
});

t.test('when the coordinator ends, calls are told so', async (t) => {
  const world = await ShardWorld.open();
  const { methods } = await servicesOver(world);
  world.shard.stop();
  const source = { case: 'yaml' as const, value: simple };
  for (const call of [
    methods.submitWorkflow(create(SubmitWorkflowRequestSchema, { source }), unheard),
    methods.getWorkflow(create(GetWorkflowRequestSchema, { workflowId: 'x' }), unheard),
    methods
      .watchWorkflow(create(WatchWorkflowRequestSchema, { workflowId: 'x' }), unheard)
      [Symbol.asyncIterator]()
      .next(),
  ])
    t.match(await failureOf(call), { code: 'Unavailable', reason: 'ENDING' });
});

t.test('a watch shows every event in order, from where it is asked to, and ends with the workflow', async (t) => {
  const world = await ShardWorld.open();
  const worker = world.worker('w1');
  const { methods } = await servicesOver(world);
  const id = await world.start(graphOf('a'));
  const stream = methods.watchWorkflow(create(WatchWorkflowRequestSchema, { workflowId: id }), unheard);
  const seen: string[] = [];
  const shown: unknown[] = [];
  const reading = (async () => {
    for await (const { item } of stream) {
      seen.push(item.case === 'event' ? `${item.value.seq} ${item.value.kind.case}` : `live ${item.case}`);
      if (item.case === 'event' && item.value.kind.case === 'jobSucceeded') shown.push(item.value.kind.value.attempt);
    }
  })();
  await world.settle();
  const [token] = worker.unanswered.keys();
  worker.accept(token);
  await world.settle();
  worker.succeed(token);
  await world.settle();
  await reading;
  t.same(seen, ['1 submitted', '2 started', '3 jobReady', 'live jobUpdate', '4 jobSucceeded', '5 ended']);
  t.match(shown, [{ workerId: 'w1', number: 1, leaseToken: '' }], 'lease tokens are not shown');
  t.match(world.shard.watch(id, 3, { event: () => {}, live: () => {} })?.record.events.at(-2), { attempt: { token } }, 'but kept');
  const resumed: string[] = [];
  const again = methods
    .watchWorkflow(create(WatchWorkflowRequestSchema, { workflowId: id, afterSeq: 3n }), unheard)
    [Symbol.asyncIterator]();
  for (let next = again.next(); ; next = again.next()) {
    await world.settle();
    const { value, done } = await next;
    if (done) break;
    if (value.item.case === 'event') resumed.push(`${value.item.value.seq}`);
  }
  t.same(resumed, ['4', '5']);
});

t.test('logs are followed to the end of the workflow, in messages of bounded size, and nothing is left behind', async (t) => {
  const world = await ShardWorld.open();
  const worker = world.worker('w1');
  const logs = new Logs();
  const streams = new OpenStreams(1);
  const id = await world.start(graphOf('a'));
  const read = (request: MessageInitShape<typeof ReadLogsRequestSchema>, context = unheard) =>
    readLogs({ shard: world.shard, reader: new Reader(world.shard), logs, streams }, create(ReadLogsRequestSchema, request), context)[
      Symbol.asyncIterator
    ]();
  const pumped = async <T>(call: Promise<T>): Promise<T> => {
    call.catch(() => {});
    for (let i = 0; i < 3; i++) await world.settle();
    return await call;
  };
  t.match(await failureOf(pumped(read({ workflowId: 'nobody' }).next())), { code: 'NotFound' });
  t.match(await failureOf(pumped(read({ workflowId: id, jobId: 'nobody' }).next())), {
    code: 'NotFound',
    message: "there is no job 'nobody'",
  });
  t.equal(logs.workflows, 0, 'a question leaves nothing behind');

  const seen: string[] = [];
  let messages = 0;
  const reading = (async () => {
    for (const stream = read({ workflowId: id, follow: true }); ; ) {
      const { value, done } = await stream.next();
      if (done) return;
      messages++;
      seen.push(...value.lines.map(({ message }: { message: string }) => message.slice(0, 8)));
    }
  })();
  await world.settle();
  t.match(await failureOf(pumped(read({ workflowId: id, follow: true }).next())), { code: 'ResourceExhausted' }, 'one at a time here');
  // Far more lines in one delivery than a reader may be behind.
  const many = Array.from({ length: 12_000 }, (_, index) => lineOf(`line ${index}`, index + 1, { workflowId: id }));
  logs.append(many.slice(0, 6_000));
  logs.append(many.slice(6_000));
  await world.settle();
  const [token] = worker.unanswered.keys();
  worker.accept(token);
  logs.append([lineOf('last', 20_000, { workflowId: id, leaseToken: 't2' })]);
  worker.succeed(token);
  await world.settle();
  await reading;
  const kept = logs.read(id, '', 0).lines.length;
  t.equal(seen.length, kept + 1);
  t.equal(seen.at(-2), 'last');
  t.equal(seen.at(-1), 'lines we', 'what was dropped is told at the end');
  t.ok(messages > 3, `${messages} messages`);

  const after = read({ workflowId: id });
  let count = 0;
  for (let next = await pumped(after.next()); !next.done; next = await pumped(after.next())) count += next.value.lines.length;
  t.equal(count, kept + 1, 'and they can be read after');
});

t.test('who stops reading logs is forgotten at once', async (t) => {
  const world = await ShardWorld.open();
  const logs = new Logs();
  const id = await world.start(graphOf('a'));
  const controller = new AbortController();
  const context = { ...unheard, signal: controller.signal };
  const streams = new OpenStreams();
  const stream = readLogs(
    { shard: world.shard, reader: new Reader(world.shard), logs, streams },
    create(ReadLogsRequestSchema, { workflowId: id, follow: true }),
    context,
  );
  const reading = stream[Symbol.asyncIterator]().next();
  await world.settle();
  controller.abort();
  t.match(await reading, { done: true });
  t.equal(logs.workflows, 0);
});
