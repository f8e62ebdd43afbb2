/**
 * What is around a handler: options, addresses, parameters and input, schemas, errors, the context.
 */
import t from 'tap';
import { z } from 'zod';
import { AttemptContext, type HandlerWords } from '../../worker/attempt/context.ts';
import { readInput } from '../../worker/attempt/job.ts';
import { type Registration, runAttempt } from '../../worker/attempt/run.ts';
import { compileSchema, type Schema } from '../../worker/attempt/schema.ts';
import { CancelledError, createWorker, type Handler, PermanentError, RetryableError } from '../../worker/index.ts';
import { checkOptions } from '../../worker/options.ts';
import type { Outcome } from '../../worker/session/outcome.ts';
import { streamUrl } from '../../worker/url.ts';
import { assignment, json } from '../stream-support/frames.ts';

const decoder = new TextDecoder();
const quiet: HandlerWords = { beat() {}, progress() {}, checkpoint() {}, line() {} };

/** Runs a handler over an assignment. */
function run(
  handler: (...given: Parameters<Handler<never, unknown>>) => unknown,
  overrides: Parameters<typeof assignment>[1] = {},
  schemas: { input?: Schema; output?: Schema } = {},
  words: HandlerWords = quiet,
): Promise<Outcome> {
  const given = assignment('t1', overrides);
  const registration: Registration = {
    type: 'noop',
    slots: 0,
    handler: handler as Handler<never, unknown>,
    input: schemas.input === undefined ? null : compileSchema(schemas.input, 'input'),
    output: schemas.output === undefined ? null : compileSchema(schemas.output, 'output'),
  };
  return runAttempt(registration, given, new AttemptContext(given, words));
}

/** An outcome with its bytes read. */
function read(outcome: Outcome): unknown {
  if (outcome.kind === 'succeeded') return JSON.parse(decoder.decode(outcome.output));
  if (outcome.kind === 'cancelled') return 'cancelled';
  const { code, message, retryable, details, retryAfterMs } = outcome.error;
  return { code, message, retryable, retryAfterMs, details: details === null ? null : JSON.parse(decoder.decode(details)) };
}

t.test('addresses: http and ws, with and without the path; a bad one gives one clear line', async (t) => {
  const good: Record<string, string> = {
    'http://localhost:8000': 'ws://localhost:8000/workers',
    'https://wf.example': 'wss://wf.example/workers',
    'ws://localhost:8000/workers': 'ws://localhost:8000/workers',
    'wss://wf.example/workers/': 'wss://wf.example/workers',
    'http://[::1]:8000/': 'ws://[::1]:8000/workers',
    'https://gate.example/flows': 'wss://gate.example/flows/workers',
  };
  for (const [address, url] of Object.entries(good)) t.same(streamUrl(address), { kind: 'url', url }, address);
  const bad: Record<string, RegExp> = {
    'localhost:8000': /^the coordinator's address 'localhost:8000' must begin with http:\/\//,
    '': /is no URL; for example http:\/\/localhost:8000$/,
    'ftp://host': /must begin with http/,
    'http://user:pass@host': /^the coordinator's address 'http:\/\/host\/' must not hold a user or password/,
    'http://host?x=1': /must not hold '\?'/,
  };
  for (const [address, message] of Object.entries(bad)) t.match(streamUrl(address), { kind: 'bad', message }, address);
});

t.test('options: defaults, environment, and what is refused', async (t) => {
  const defaults = checkOptions({}, {});
  t.match(defaults, { urls: ['ws://localhost:8000/workers'], token: null, slots: 10, labels: {} });
  t.match(defaults.id, new RegExp(`-${process.pid}$`));
  const environment = { COORDINATOR_URL: 'https://a', WORKFLOW_TOKEN: 'secret', WORKER_ID: 'w7' };
  t.match(checkOptions({}, environment), { urls: ['wss://a/workers'], token: 'secret', id: 'w7' });
  t.match(checkOptions({ url: ['http://a', 'http://b'], id: 'x' }, environment), { urls: ['ws://a/workers', 'ws://b/workers'], id: 'x' });
  t.same(checkOptions({}, { COORDINATOR_URL: 'http://a, ws://b/workers,http://a/' }).urls, ['ws://a/workers', 'ws://b/workers']);
  t.throws(() => checkOptions({ url: 'http://a,nonsense' }, {}), /the coordinator's address 'nonsense' is no URL/);
  t.throws(() => checkOptions({ url: 'nonsense' }, {}), /the coordinator's address 'nonsense' is no URL/);
  t.throws(() => checkOptions({ url: [] }, {}), /at least one/);
  t.throws(() => checkOptions({ slots: 0 }, {}), /slots must be a whole number from 1 to 10000, not 0/);
  t.throws(() => checkOptions({ slots: 10_001 }, {}), /not 10001/);
  t.throws(() => checkOptions({ id: 'x'.repeat(129) }, {}), /id must be 1 to 128 of A-Z/);
  t.throws(() => checkOptions({}, { WORKER_ID: 'my worker' }), { message: /id must be 1 to 128 of A-Z .*, not "my worker"/ });
  t.throws(() => checkOptions({ token: 'a b' }, {}), /token must be printable ASCII/);
  const labels = Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`k${i}`, '']));
  t.throws(() => checkOptions({ labels }, {}), /labels: 33 are given, at most 32/);
});

t.test('handle: what is refused when it is registered', async (t) => {
  const worker = createWorker({ id: 'w' });
  const nothing = () => null;
  worker.handle('a', nothing);
  t.throws(() => worker.handle('a', nothing), /the type 'a' has a handler already/);
  t.throws(() => worker.handle('', nothing), /1 to 128 characters/);
  t.throws(() => worker.handle('b', { slots: -1 }, nothing), /slots of 'b'/);
  t.throws(() => worker.handle('b', { input: { type: 'strange' } }, nothing), /the input schema of 'b' is no valid JSON Schema/);
  t.throws(() => worker.handle('b', { output: 5 as unknown as Schema }, nothing), /must be a Standard Schema .* or a JSON Schema/);
  await t.rejects(createWorker({ id: 'w' }).start(), /no handler/);
  const stopped = createWorker({ id: 'w' }).handle('a', nothing);
  await stopped.stop();
  t.match(stopped.state(), { phase: 'closed', running: 0 });
  await t.rejects(stopped.start(), /was stopped before/);
});

t.test('parameters follow from the schema, in types and at run time', async (t) => {
  // Compiled, never run: the types are the test.
  createWorker({ id: 'w' })
    .handle('zod', { input: z.object({ n: z.coerce.number() }), output: z.object({ twice: z.number() }) }, ({ parameters }) => ({
      twice: parameters.n * 2,
    }))
    .handle('json', { input: { type: 'object' } }, ({ parameters }) => parameters)
    .handle<{ path: string }>('named', async ({ parameters }) => parameters.path.length);
  const schema = z.object({ n: z.coerce.number(), unit: z.string().default('m') });
  const outcome = await run(({ parameters }) => parameters, { parameters: { data: json({ n: '5' }) } }, { input: schema });
  t.same(read(outcome), { n: 5, unit: 'm' }, 'what the schema made of it');
});

t.test('parameters that do not fit: INVALID_INPUT with all violations, the handler is not called', async (t) => {
  const never = () => t.fail('called');
  const parameters = { data: json({ a: 1 }) };
  const byZod = await run(never, { parameters }, { input: z.object({ a: z.string(), b: z.object({ c: z.number() }) }) });
  t.match(read(byZod), {
    code: 'INVALID_INPUT',
    retryable: false,
    message: /the parameters do not fit: \/a: /,
    details: { total: 2, violations: [{ path: '/a' }, { path: '/b' }] },
  });
  const byAjv = await run(never, { parameters }, { input: { type: 'object', properties: { a: { type: 'string' } }, required: ['b'] } });
  t.match(read(byAjv), { code: 'INVALID_INPUT', retryable: false, details: { total: 2 } });
  t.match(read(await run(never, { parameters: { data: Buffer.from('{') } })), {
    code: 'INVALID_INPUT',
    message: /the parameters is no JSON|the parameters/,
  });
  t.match(read(await run(never, { parameters: { encoding: 'cbor', data: json(1) } })), {
    code: 'INVALID_INPUT',
    message: /encoding 'cbor'; only json/,
  });
});

t.test('output: checked, JSON, not too deep', async (t) => {
  t.equal(read(await run(() => undefined)), null);
  t.match(read(await run(() => ({ n: 'x' }), {}, { output: z.object({ n: z.number() }) })), {
    code: 'OUTPUT_SCHEMA',
    retryable: false,
    details: { violations: [{ path: '/n' }] },
  });
  t.match(read(await run(() => 5n)), { code: 'OUTPUT_NOT_JSON', retryable: false, message: /the output cannot be written as JSON/ });
  t.match(read(await run(() => () => 1)), { code: 'OUTPUT_NOT_JSON', message: /the output is a function/ });
  const nest = (depth: number): unknown => (depth === 0 ? '[[[[' : [nest(depth - 1)]);
  t.same(read(await run(() => nest(64))), nest(64));
  t.match(read(await run(() => nest(65))), { code: 'OUTPUT_NOT_JSON', message: /deeper than 64 levels/ });
});

t.test('errors: what a handler throws is what the job gets', async (t) => {
  const thrower = (thrown: unknown) => run(() => Promise.reject(thrown));
  t.match(read(await thrower(new Error('boom'))), { code: 'HANDLER_ERROR', message: 'boom', retryable: true, details: null });
  t.match(read(await thrower('words')), { code: 'HANDLER_ERROR', message: 'words', retryable: true });
  t.match(read(await thrower(null)), { code: 'HANDLER_ERROR', message: 'a null was thrown' });
  t.match(read(await thrower(new CancelledError('I stop'))), { code: 'HANDLER_ERROR', message: 'I stop' });
  const permanent = new PermanentError('no such file', { code: 'NOT_FOUND', details: { path: '/a' } });
  t.match(read(await thrower(permanent)), { code: 'NOT_FOUND', retryable: false, details: { path: '/a' } });
  t.match(read(await thrower(new RetryableError('busy', { code: 'BUSY', retryAfterMs: 500 }))), {
    code: 'BUSY',
    retryable: true,
    retryAfterMs: 500,
  });
  const outcome = await thrower(new Error('outer', { cause: new Error('inner') }));
  t.match(outcome.kind === 'failed' ? outcome.error.stack : '', /Error: outer\n[\s\S]*\nCaused by: Error: inner\n/);
});

t.test('input: one output, a map of several, the inputs of the workflow, none (R24)', async (t) => {
  const entry = (jobId: string, value: unknown) => ({
    $typeName: 'workflow.v1.NamedPayload' as const,
    jobId,
    payload: { $typeName: 'workflow.v1.Payload' as const, encoding: '', data: json(value), hash: new Uint8Array() },
  });
  t.same(readInput([]), { kind: 'value', value: null });
  t.same(readInput([entry('', { env: 'dev' })]), { kind: 'value', value: { env: 'dev' } });
  t.same(readInput([entry('a', [1])]), { kind: 'value', value: [1] });
  const several = readInput([entry('a', 1), entry('__proto__', { polluted: true })]);
  t.ok(several.kind === 'value' && Object.hasOwn(several.value as object, '__proto__'));
  t.equal(({} as { polluted?: boolean }).polluted, undefined);
  t.same(several.kind === 'value' && (several.value as Record<string, unknown>).a, 1);
  t.match(readInput([{ ...entry('b', 1), payload: { ...entry('b', 1).payload, data: Buffer.from('{') } }]), {
    kind: 'problem',
    message: /the output of job 'b' is no JSON/,
  });
});

t.test('context: words, checkpoint, abort', async (t) => {
  const said: unknown[] = [];
  const words: HandlerWords = {
    beat: () => said.push('beat'),
    progress: (fraction, message) => said.push([fraction, message]),
    checkpoint: (bytes) => said.push(JSON.parse(decoder.decode(bytes))),
    line: (level, message) => said.push(`${level}: ${message}`),
  };
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  const outcome = await run(
    (_job, context) => {
      context.heartbeat();
      context.progress(0.5);
      context.setCheckpoint({ row: 5 });
      context.log.warn('odd', { error: new Error('why'), big: 5n });
      context.log.info('round', circle);
      return [context.checkpoint, context.idempotencyKey, String(context.fencingToken)];
    },
    { checkpoint: { data: json({ row: 4 }) }, idempotencyKey: 'wf/job/0', fencingToken: 9n },
    {},
    words,
  );
  t.same(said, [
    'beat',
    [0.5, ''],
    { row: 5 },
    'warn: odd {"error":"why","big":"5"}',
    'info: round {"fields":"cannot be written as JSON"}',
  ]);
  t.same(read(outcome), [{ row: 4 }, 'wf/job/0', '9']);
  const big = await run((_job, context) => context.setCheckpoint('x'.repeat(64 * 1024)));
  t.match(read(big), { code: 'BAD_CHECKPOINT', retryable: false, message: /has 65538 bytes, more than 65536/ });

  const before = new AttemptContext(assignment('a'), quiet);
  before.abort({ kind: 'timeout', runTimeoutMs: 50 });
  before.abort({ kind: 'lost' });
  t.match(before.signal, { aborted: true, reason: { code: 'TIMEOUT', message: 'ran longer than 50 ms' } }, 'asked for afterwards');
  const after = new AttemptContext(assignment('a'), quiet);
  const { signal } = after;
  t.equal(signal.aborted, false);
  after.abort({ kind: 'cancelled', reason: 'not needed' });
  t.match(signal.reason, { name: 'CancelledError', message: 'the job was cancelled: not needed' });
});
