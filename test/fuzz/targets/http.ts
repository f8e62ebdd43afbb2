/**
 * Requests to a whole coordinator in this process, as bytes on a connection: REST, Connect in JSON and protobuf, gRPC-Web, the routes of the system, and
 * what is no HTTP. An input that begins with `=` is sent as it is; of any other, `Content-Length` is made right. The id of twenty-six zeros stands for a
 * workflow that is there.
 *
 * What must hold: an answer, or the connection is closed; a refusal is JSON with a code and a message, never `internal`; what was refused has written
 * nothing; nothing is thrown beside the request; the coordinator goes on.
 */
import { DefinitionService, SystemService, WorkerService, WorkflowService } from '@workflow-orchestrator/proto';
import pino from 'pino';
import { type RunningCoordinator, startCoordinator } from '../../../coordinator/coordinator.ts';
import { MemoryJournal, MemoryStore } from '../../../coordinator/store/memory/memory.ts';
import type { JournalBatch, Ownership, StoredDefinition } from '../../../coordinator/store/store.ts';
import type { Random } from '../../engine-support/random.ts';
import { repeated } from '../mutate.ts';
import { Broken, type Outcome, shapeOf, type Target } from '../target.ts';
import { definitionFiles } from './definition.ts';
import { type Answer, exchange } from './http-client.ts';

const placeholder = '0'.repeat(26);
/** Inputs after which a new coordinator is started, so that what they made does not pile up. */
const inputsOfOne = 2_000;
const simple =
  'workflow: { name: w, inputs: { n: { type: integer, default: 1 } }, jobs: [{ id: a, type: noop, on_success: b }, { id: b, type: noop }] }';

/** Counts what requests write. */
class CountingStore extends MemoryStore {
  writes = 0;

  override commit(ownership: Ownership, batch: JournalBatch): ReturnType<MemoryStore['commit']> {
    // What the clock does to workflows is nobody's request.
    const asked = new Set(['submitted', 'started', 'paused', 'resumed', 'cancelRequested']);
    if (batch.entries.some(({ events }) => events.some(({ kind }) => asked.has(kind)))) this.writes++;
    return super.commit(ownership, batch);
  }

  override putDefinition(definition: StoredDefinition): Promise<StoredDefinition> {
    // One that is not registered is kept under its hash before the workflow that names it, and in no list: a submit that is refused later leaves it.
    if (definition.registeredAt > 0) this.writes++;
    return super.putDefinition(definition);
  }
}

/** A coordinator under fire. */
class World {
  readonly store = new CountingStore(new MemoryJournal());
  readonly logged: string[] = [];
  stopped: string | null = null;
  id = placeholder;
  inputs = 0;
  #coordinator: RunningCoordinator | null = null;

  static async open(): Promise<World> {
    const world = new World();
    world.#coordinator = await startCoordinator({
      store: world.store,
      host: '127.0.0.1',
      port: 0,
      grpcPort: null,
      advertiseUrl: null,
      token: null,
      version: 'fuzz',
      log: pino({ level: 'error' }, { write: (line: string) => void world.logged.push(line) }),
      onStopped: (reason) => {
        world.stopped = reason;
      },
    });
    while (world.#coordinator.role() !== 'ACTIVE') await new Promise((resolve) => setImmediate(resolve));
    const body = JSON.stringify({ yaml: simple, start: true });
    const { body: answer } = await exchange(
      world.port,
      Buffer.from(requestOf('POST', '/workflows', ['Content-Type: application/json'], body)),
      false,
    );
    world.id = (JSON.parse(answer) as { id?: string; workflow?: { id: string } }).workflow?.id ?? (JSON.parse(answer) as { id: string }).id;
    return world;
  }

  get port(): number {
    return this.#coordinator?.port ?? 0;
  }

  async close(): Promise<void> {
    await this.#coordinator?.close(0);
  }
}

/** The target. */
export async function httpTarget(): Promise<Target> {
  let world = await World.open();
  const uncaught: unknown[] = [];
  const note = (error: unknown) => void uncaught.push(error);
  process.on('uncaughtException', note).on('unhandledRejection', note);
  return {
    name: 'http',
    seeds,
    generate,
    words,
    isText: true,
    mostBytes: 1_200_000,
    async run(input) {
      if (++world.inputs > inputsOfOne) {
        await world.close();
        world = await World.open();
      }
      const outcome = await judge(world, input);
      if (uncaught.length > 0) throw uncaught.splice(0)[0];
      return outcome;
    },
    async close() {
      process.off('uncaughtException', note).off('unhandledRejection', note);
      await world.close();
    },
  };
}

async function judge(world: World, input: Uint8Array): Promise<Outcome> {
  const request = sent(input, world.id);
  const writes = world.store.writes;
  world.logged.length = 0;
  const isHead = request.subarray(0, 5).toString('latin1') === 'HEAD ';
  const answer = await exchange(world.port, request, isHead);
  if (world.stopped !== null) throw new Broken(`the coordinator stopped: ${world.stopped}`);
  const error = world.logged.find((line) => line.includes('"level":50') || line.includes('"level":60'));
  if (error !== undefined) throw new Broken(`an error was logged: ${shapeOf(error.replace(/^\{"level":\d+,"time":\d+,[^{]*/, ''))}`);
  if (answer.kind === 'nothing') throw new Broken('neither an answer nor an end of the connection');
  const refused = answer.kind === 'answered' && answer.status >= 400;
  if (refused && !isHead) judgeRefusal(answer);
  if (refused && world.store.writes !== writes) throw new Broken(`refused with ${answer.status}, and written`);
  return { features: [`${answer.kind} ${answer.status} ${shapeOf(refused ? answer.body : answer.type)}`], kept: null };
}

/** Invariant of every face: the error in JSON, by code. */
function judgeRefusal({ status, body, type }: Answer): void {
  if (status === 500 || status === 501) throw new Broken(`${status}: ${shapeOf(body)}`);
  if (!type.startsWith('application/json')) throw new Broken(`a refusal with ${status} of the type '${type}'`);
  let error: { code?: unknown; message?: unknown };
  try {
    error = JSON.parse(body) as typeof error;
  } catch {
    throw new Broken(`a refusal with ${status} that is no JSON`);
  }
  if (typeof error.code !== 'string' || error.code === '') throw new Broken(`a refusal with ${status} without a code`);
  if (typeof error.message !== 'string' || error.message === '') throw new Broken(`a refusal with ${status} without a message`);
}

/** The bytes that are sent for an input. */
function sent(input: Uint8Array, id: string): Buffer {
  const bytes = Buffer.from(Buffer.from(input).toString('latin1').replaceAll(placeholder, id), 'latin1');
  if (bytes[0] === 0x3d) return bytes.subarray(1);
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return bytes;
  const body = bytes.subarray(end + 4);
  const head = bytes.toString('latin1', 0, end).replaceAll(/\r\ncontent-length:[^\r]*/gi, '');
  const length = body.length > 0 || head.startsWith('POST') ? `\r\nContent-Length: ${body.length}` : '';
  return Buffer.concat([Buffer.from(`${head}${length}\r\n\r\n`, 'latin1'), body]);
}

function requestOf(verb: string, path: string, headers: readonly string[], body: string | Uint8Array = ''): Uint8Array {
  const bytes = Buffer.from(body);
  const length = bytes.length > 0 || verb === 'POST' ? [`Content-Length: ${bytes.length}`] : [];
  const head = [`${verb} ${path} HTTP/1.1`, 'Host: 127.0.0.1', ...headers, ...length].join('\r\n');
  return Buffer.concat([Buffer.from(`${head}\r\n\r\n`), bytes]);
}

const rest: readonly (readonly [verb: string, path: string])[] = [
  ...['/workflows', `/workflows/${placeholder}`, `/workflows/${placeholder}/jobs`, `/workflows/${placeholder}/jobs/a`].map(
    (path) => ['GET', path] as const,
  ),
  ...[`/workflows/${placeholder}/jobs/a/attempts`, `/workflows/${placeholder}/logs`, `/workflows/${placeholder}/events`].map(
    (path) => ['GET', path] as const,
  ),
  ...['/definitions', '/definitions/abc', '/workers', '/info', '/healthz', '/readyz', '/metrics', '/openapi.json', '/'].map(
    (path) => ['GET', path] as const,
  ),
  ...['/workflows', '/workflows/batch', '/workflows/from-yaml', '/definitions', '/definitions/validate', '/workers/w1/drain'].map(
    (path) => ['POST', path] as const,
  ),
  ...['start', 'cancel', 'pause', 'resume'].map((verb) => ['POST', `/workflows/${placeholder}/${verb}`] as const),
];
const methods = [WorkflowService, DefinitionService, WorkerService, SystemService].flatMap((service) =>
  service.methods.map((method) => ({ path: `/${service.typeName}/${method.name}`, method })),
);

const words = [
  ...[
    '\r\n',
    '\r\n\r\n',
    ': ',
    'Content-Type: ',
    'application/json',
    'application/proto',
    'application/connect+json',
    'application/grpc-web+proto',
  ],
  ...[
    'Transfer-Encoding: chunked\r\n',
    'Content-Encoding: gzip\r\n',
    'Connection: Upgrade\r\nUpgrade: websocket\r\n',
    'Expect: 100-continue\r\n',
  ],
  ...[
    'Idempotency-Key: k\r\n',
    'Last-Event-ID: 1\r\n',
    'Request-Timeout: 1\r\n',
    'Connect-Timeout-Ms: 1\r\n',
    'Origin: http://evil\r\n',
    'Accept: text/event-stream\r\n',
  ],
  ...[
    '{',
    '}',
    '[',
    ']',
    '"',
    ':',
    ',',
    'null',
    '"yaml"',
    '"inputs"',
    '"__proto__":',
    '"labels":',
    '1e400',
    '\\ud800',
    '%00',
    '%',
    '%2e%2e/',
    '//',
    '?',
    '&',
    '=',
  ],
  ...[
    'a[b]=c',
    'page_size=-1',
    'view=FULL',
    'follow=false',
    'HTTP/1.0',
    'HTTP/2.0',
    'PRI * HTTP/2.0',
    'GET',
    'POST',
    'OPTIONS',
    'é',
    '\u0000',
    placeholder,
  ],
];

function seeds(): Uint8Array[] {
  const json = ['Content-Type: application/json'];
  const yaml = definitionFiles().slice(0, 4);
  return [
    ...rest.map(([verb, path]) => requestOf(verb, path, verb === 'POST' ? json : [], verb === 'POST' ? '{}' : '')),
    ...yaml.map((text) => requestOf('POST', '/workflows/from-yaml?start=true', ['Content-Type: application/yaml'], text)),
    requestOf(
      'POST',
      '/workflows',
      [...json, 'Idempotency-Key: k1'],
      JSON.stringify({ yaml: simple, inputs: { n: 2 }, labels: { a: 'b' }, start: true }),
    ),
    requestOf('POST', '/workflows/batch', json, JSON.stringify({ requests: [{ yaml: simple }, { name: 'w' }, {}] })),
    ...methods.map(({ path }) => requestOf('POST', path, json, JSON.stringify({ workflowId: placeholder, yaml: simple }))),
    requestOf('GET', '/workers', [
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
      'Sec-WebSocket-Protocol: workflow.worker.v1',
    ]),
    Buffer.from('=PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  ];
}

const names = [
  'yaml',
  'name',
  'definitionHash',
  'definition_hash',
  'inputs',
  'labels',
  'idempotencyKey',
  'start',
  'workflowId',
  'workflow_id',
  'jobId',
  'reason',
];
const more = [
  'force',
  'pageSize',
  'pageToken',
  'status',
  'view',
  'label',
  'follow',
  'afterSeq',
  'requests',
  'source',
  'hash',
  'submittedAfter',
  '__proto__',
  'x',
];

function value(random: Random, depth: number): unknown {
  const leaf = [
    null,
    true,
    0,
    -1,
    1.5,
    '',
    'x',
    simple,
    placeholder,
    'RUNNING',
    'FULL',
    '2024-01-01T00:00:00Z',
    '1e9',
    2 ** 53,
    '\u0000',
    '\ud800',
    'k'.repeat(300),
  ];
  if (depth <= 0 || random.chance(0.6)) return random.pick<unknown>(leaf);
  if (random.chance(0.4)) return Array.from({ length: random.below(4) }, () => value(random, depth - 1));
  return object(random, depth - 1);
}

function object(random: Random, depth: number): unknown {
  return Object.fromEntries(Array.from({ length: random.below(5) }, () => [random.pick([...names, ...more]), value(random, depth)]));
}

function jsonBody(random: Random): string {
  if (random.chance(0.03)) return repeated(random.pick(['[', '{"a":', '[{},', '{"requests":[', '"x",', ' ']), 1 + random.below(60_000));
  const made = object(random, 3) as Record<string, unknown>;
  if (random.chance(0.6)) made.yaml = random.pick<unknown>([simple, 'workflow:', 1, '']);
  return JSON.stringify(made);
}

function query(random: Random): string {
  const parts = Array.from({ length: random.below(4) }, () => {
    const name = random.pick([
      'page_size',
      'pageSize',
      'status',
      'name',
      'label',
      'view',
      'after_seq',
      'follow',
      'submitted_after',
      'start',
      'inputs',
      'page_token',
      'x',
      '',
    ]);
    return `${name}=${random.pick(['', '1', '-1', 'x', 'RUNNING', 'FULL', 'false', 'a=b', '%zz', '%ff', '1e3', '2024-01-01T00:00:00Z', 'k'.repeat(300), '99999999999999999999'])}`;
  });
  return parts.length === 0 ? '' : `?${parts.join('&')}`;
}

function headers(random: Random): string[] {
  const choices = [
    ...[
      'Accept: text/event-stream',
      'Accept: application/jsonl',
      'Idempotency-Key: k',
      `Idempotency-Key: ${'k'.repeat(300)}`,
      'Last-Event-ID: x',
      'Last-Event-ID: 5',
    ],
    ...[
      'Request-Timeout: 0',
      'Request-Timeout: x',
      'Request-Timeout: 5',
      'Connect-Timeout-Ms: 99999999999',
      'Connect-Protocol-Version: 2',
      'Accept-Encoding: gzip, br',
    ],
    ...[
      'Content-Encoding: br',
      'Content-Encoding: nonsense',
      'Origin: http://evil.example',
      'Host: evil.example',
      'Authorization: Bearer x',
      'Expect: 100-continue',
    ],
    ...[
      `X-Long: ${'x'.repeat(9_000)}`,
      'Connection: close',
      'Traceparent: 00-x',
      'Cookie: a=b; __proto__=1',
      'X-HTTP-Method-Override: DELETE',
    ],
  ];
  return Array.from({ length: random.below(3) }, () => random.pick(choices));
}

const types = [
  'application/json',
  'application/json; charset=utf-16',
  'application/yaml',
  'text/plain',
  'application/proto',
  'application/x-www-form-urlencoded',
  'a',
  '',
  'application/grpc',
];

function generate(random: Random): Uint8Array {
  const dice = random.below(10);
  if (dice < 5) {
    const [verb, path] = random.pick(rest);
    const wrong = random.chance(0.1) ? random.pick(['PUT', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH', 'TRACE', 'X']) : verb;
    const type = random.chance(0.8) ? 'application/json' : random.pick(types);
    const isYaml = path.endsWith('from-yaml');
    const body = verb === 'GET' ? '' : isYaml && random.chance(0.8) ? random.pick([simple, 'workflow: [', '']) : jsonBody(random);
    return requestOf(wrong, path + query(random), [...(verb === 'GET' ? [] : [`Content-Type: ${type}`]), ...headers(random)], body);
  }
  const { path, method } = random.pick(methods);
  if (dice < 7) return requestOf('POST', path, ['Content-Type: application/json', ...headers(random)], jsonBody(random));
  const message = protobufOf(random);
  if (dice < 8) return requestOf('POST', path, ['Content-Type: application/proto', ...headers(random)], message);
  const type = random.pick([
    'application/connect+proto',
    'application/connect+json',
    'application/grpc-web+proto',
    'application/grpc-web',
    'application/grpc',
  ]);
  const framed = Buffer.alloc(5 + message.length);
  framed[0] = random.pick([0, 0, 0, 1, 2, 128]);
  framed.writeUInt32BE(random.chance(0.8) ? message.length : random.below(2 ** 31), 1);
  framed.set(message, 5);
  const body = method.methodKind === 'server_streaming' || random.chance(0.7) ? framed : message;
  return requestOf('POST', path, [`Content-Type: ${type}`, ...headers(random)], body);
}

/** A message of plausible fields: text, numbers, messages in messages. */
function protobufOf(random: Random, depth = 3): Buffer {
  const fields = Array.from({ length: random.below(5) }, () => {
    const number = 1 + random.below(9);
    if (random.chance(0.3)) return Buffer.from([number << 3, random.below(128)]);
    const texts = [placeholder, simple, 'w', '', 'a', '\ufffd'];
    const inner = depth > 0 && random.chance(0.4) ? protobufOf(random, depth - 1) : Buffer.from(random.pick(texts));
    const length = inner.length < 128 ? [inner.length] : [(inner.length & 0x7f) | 0x80, inner.length >> 7];
    return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), inner]);
  });
  if (random.chance(0.02)) fields.push(Buffer.from(repeated('\x0a\x00', 1 + random.below(120_000)), 'latin1'));
  return Buffer.concat(fields);
}
