/** HTTP requests of jobs against real servers: what is sent, what comes back, what is refused. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import t from 'tap';
import { parseConnections } from '../../worker/connections/load.ts';
import type { Json } from '../../worker/handler.ts';
import type { Resolve } from '../../worker/http/connector.ts';
import { stockHandlers } from '../../worker/jobs/stock.ts';
import type { ComputePool } from '../../worker/pool/pool.ts';
import { selfSigned } from '../jobs-support/certificate.ts';
import { contextOf, jobOf, run } from '../jobs-support/run.ts';

/** What a server saw of one request. */
interface Received {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

type Answer = (response: ServerResponse, request: Received) => void;

/** A server whose paths answer as told; keeps what it received. */
async function serve(answers: Record<string, Answer>) {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text) => (body += text));
    request.on('end', () => {
      const url = new URL(request.url ?? '/', 'http://x');
      const seen = { method: request.method ?? '', path: url.pathname + url.search, headers: request.headers, body };
      received.push(seen);
      const answer = answers[url.pathname];
      if (answer === undefined) response.writeHead(404).end('no such thing');
      else answer(response, seen);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  });
  const { port } = server.address() as AddressInfo;
  return { port, url: `http://127.0.0.1:${port}`, received, last: () => received.at(-1)! };
}

const json =
  (status: number, value: Json, headers: Record<string, string> = {}): Answer =>
  (response) =>
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));

const other = await serve({
  '/landing': (response, request) => json(200, { headers: request.headers as unknown as Json })(response, request),
});
let flaky = 0;
const server = await serve({
  '/echo': (response, request) =>
    json(200, { method: request.method, body: request.body, path: request.path }, { 'set-cookie': 'a=b' })(response, request),
  '/base/items/7': json(201, { id: 7 }),
  '/text': (response) => response.writeHead(200, { 'content-type': 'text/plain; charset=iso-8859-1' }).end(Buffer.from([0x67, 0xfc, 0x6e])),
  '/bytes': (response) => response.writeHead(200, { 'content-type': 'image/png' }).end(Buffer.from([0, 1, 2])),
  '/empty': (response) => response.writeHead(204).end(),
  '/broken-json': (response) => response.writeHead(200, { 'content-type': 'application/json' }).end('{"a":'),
  '/gzip': (response) =>
    response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }).end(gzipSync('{"zipped":true}')),
  '/bomb': (response) =>
    response.writeHead(200, { 'content-type': 'text/plain', 'content-encoding': 'br' }).end(brotliCompressSync(Buffer.alloc(10_000_000))),
  '/large': (response) => response.writeHead(200, { 'content-type': 'text/plain' }).end(Buffer.alloc(192 * 1024 + 1, 0x61)),
  '/just-fits': (response) => response.writeHead(200, { 'content-type': 'text/plain' }).end(Buffer.alloc(192 * 1024, 0x61)),
  '/endless': (response) => {
    response.writeHead(200, { 'content-type': 'text/plain' });
    const write = () => {
      while (!response.destroyed && response.write(Buffer.alloc(65_536, 0x61)));
    };
    response.on('drain', write);
    write();
  },
  '/silent': () => {},
  '/half': (response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write('half');
  },
  '/cut': (response) => response.destroy(),
  '/busy': json(503, { error: 'busy' }, { 'retry-after': '7' }),
  '/later': json(429, {}, { 'retry-after': new Date(Date.parse('2026-11-01T12:01:00Z')).toUTCString() }),
  '/gone': json(410, {}),
  '/refused': json(422, { error: 'bad field', secret: 'hunter2-hunter2' }),
  '/flaky': (response, request) => json(++flaky < 2 ? 500 : 200, { try: flaky })(response, request),
  '/to-echo': (response) => response.writeHead(302, { location: '/echo' }).end(),
  '/keep-method': (response) => response.writeHead(307, { location: '/echo' }).end(),
  '/elsewhere': (response) => response.writeHead(307, { location: `${other.url}/landing` }).end(),
  '/loop': (response) => response.writeHead(302, { location: '/loop' }).end(),
  '/to-private': (response) => response.writeHead(302, { location: 'http://169.254.169.254/latest/meta-data' }).end(),
  '/to-file': (response) => response.writeHead(302, { location: 'file:///etc/passwd' }).end(),
  '/hook': (response) => response.writeHead(200).end('ok'),
  '/hook-down': (response) => response.writeHead(500).end('down'),
});

/** Names as a hostile name server would answer for them. */
const resolve: Resolve = async (host) => {
  const names: Record<string, string[]> = {
    'public-looking.example': ['127.0.0.1'],
    'mixed.example': ['10.0.0.1', '127.0.0.1'],
    'mapped.example': ['::ffff:127.0.0.1'],
    'allowed.example': ['127.0.0.1'],
  };
  const addresses = names[host];
  if (addresses === undefined) throw Object.assign(new Error(`getaddrinfo ENOTFOUND ${host}`), { code: 'ENOTFOUND' });
  return addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
};

const connections = parseConnections(
  `
endpoints:
  api: { url: "${server.url}/base", headers: { Authorization: "Bearer \${TOKEN}", X-Key: "\${TOKEN}" }, timeout: 5s }
  echo: { url: "${server.url}/echo", headers: { Authorization: "Bearer \${TOKEN}" } }
  elsewhere: { url: "${server.url}/elsewhere", headers: { Authorization: "Bearer \${TOKEN}", X-Key: "\${TOKEN}" } }
  secret-path: { url: "\${SECRET_URL}", method: GET }
  refusing: { url: "${server.url}/refused" }
channels:
  hook: { kind: webhook, url: "${server.url}/hook" }
  slack: { kind: webhook, url: "${server.url}/hook", format: slack }
  discord: { kind: webhook, url: "${server.url}/hook", format: discord }
  down: { kind: webhook, url: "${server.url}/hook-down?token=\${TOKEN}" }
  log: { kind: log, level: error }
network: { allow: ["127.0.0.1:${server.port}", "127.0.0.1:${other.port}", allowed.example] }
`,
  { file: 'c.yaml', dataFolder: null, env: { TOKEN: 'hunter2-hunter2', SECRET_URL: `${server.url}/very/secret/path/of/a/webhook` } },
);
const unused: ComputePool = { run: () => Promise.reject(new Error('computed')), processes: 0, close: async () => {} };
const nowMs = () => Date.parse('2026-11-01T12:00:00Z');
const { handlers, close } = stockHandlers(connections, unused, { resolve, nowMs });
t.teardown(close);
const call = (parameters: Json, input: Json = { from: 'before' }, seen = contextOf('w/job/0')) =>
  run(handlers.integration, jobOf('integration', parameters, input), seen);
const get = (path: string, more: { [key: string]: Json } = {}) => call({ url: server.url + path, ...more });

t.test('requests as they arrive', async (t) => {
  await get('/echo');
  t.match(server.last(), { method: 'GET', body: '' });
  t.equal(server.last().headers['idempotency-key'], undefined, 'a GET changes nothing');

  await call({ url: `${server.url}/echo?a=1`, query: { b: 'x y', c: 2 }, body: { n: 1 }, headers: { 'X-Mine': 'yes' } });
  t.match(server.last(), {
    method: 'POST',
    path: '/echo?a=1&b=x+y&c=2',
    body: '{"n":1}',
    headers: { 'content-type': 'application/json', 'x-mine': 'yes', 'idempotency-key': 'w/job/0' },
  });

  await call({
    url: `${server.url}/echo`,
    method: 'PUT',
    body: '<x/>',
    headers: { 'Content-Type': 'application/xml', 'Idempotency-Key': 'mine' },
  });
  t.match(server.last(), { method: 'PUT', body: '<x/>', headers: { 'content-type': 'application/xml', 'idempotency-key': 'mine' } });

  await call({ url: `${server.url}/echo`, method: 'PATCH' });
  t.match(server.last(), { body: '{"from":"before"}' }, 'without data: the input');

  await call({ url: `${server.url}/echo`, method: 'DELETE' });
  t.match(server.last(), { method: 'DELETE', body: '' });

  await call({ endpoint: 'echo', data: [1] });
  t.match(server.last(), {
    method: 'POST',
    body: '[1]',
    headers: { authorization: 'Bearer hunter2-hunter2', 'idempotency-key': 'w/job/0' },
  });

  t.match(await call({ endpoint: 'api', path: '/items/7', method: 'GET', query: { q: 1 } }), { output: { status: 201, body: { id: 7 } } });
  t.equal(server.last().path, '/base/items/7?q=1');
});

t.test('replies as output', async (t) => {
  t.match(await get('/echo'), { output: { status: 200, headers: { 'content-type': 'application/json' }, body: { method: 'GET' } } });
  const echoed = await get('/echo');
  if (echoed.kind === 'output') t.notOk(JSON.stringify(echoed.output).includes('set-cookie'), 'cookies are left out');
  t.match(await get('/text'), { output: { body: 'gün' } });
  t.match(await get('/bytes'), { output: { body: 'AAEC', encoding: 'base64' } });
  t.match(await get('/empty'), { output: { status: 204, body: null } });
  t.match(await get('/broken-json'), { output: { body: '{"a":' } });
  t.match(await get('/gzip'), { output: { body: { zipped: true } } });
  t.match(await get('/echo', { response: 'body' }), { output: { method: 'GET' } });
  const none = await get('/echo', { response: 'none' });
  t.notOk(none.kind === 'output' && 'body' in (none.output as object));
  t.match(await get('/just-fits', { response: 'none' }), { kind: 'output' });
  t.match(await get('/gone', { expect_status: [200, '4xx'] }), { output: { status: 410 } });
});

t.test('failures and whether they are worth another attempt', async (t) => {
  const closedPort = await new Promise<number>((resolve) => {
    const probe = createTcpServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
  const local = parseConnections(`network: { allow: [127.0.0.0/8] }`, { file: 'c.yaml', dataFolder: null, env: {} });
  const everywhere = stockHandlers(local, unused, { resolve });
  t.teardown(everywhere.close);
  t.match(await run(everywhere.handlers.integration, jobOf('integration', { url: `http://127.0.0.1:${closedPort}/` })), {
    code: 'CONNECTION_FAILED',
    retryable: true,
    details: { reason: 'ECONNREFUSED' },
  });

  t.match(await get('/busy'), {
    code: 'HTTP_STATUS',
    retryable: true,
    retryAfterMs: 7_000,
    details: { status: 503, body: '{"error":"busy"}' },
  });
  t.match(await get('/later'), { code: 'HTTP_STATUS', retryable: true, retryAfterMs: 60_000 });
  t.match(await get('/nothing'), { code: 'HTTP_STATUS', retryable: false, message: `${server.url}/nothing answered 404: no such thing` });
  t.match(await get('/echo', { expect_status: 201 }), { code: 'HTTP_STATUS', retryable: false });
  t.match(await get('/silent', { timeout: '200ms' }), {
    code: 'HTTP_TIMEOUT',
    retryable: true,
    message: `${server.url}/silent did not answer within 200ms`,
  });
  t.match(await get('/half', { timeout: '200ms' }), { code: 'HTTP_TIMEOUT', retryable: true });
  t.match(await get('/cut'), { code: 'CONNECTION_FAILED', retryable: true });
  t.match(await get('/large'), { code: 'RESPONSE_TOO_LARGE', retryable: false });
  t.match(await get('/endless'), { code: 'RESPONSE_TOO_LARGE', retryable: false });
  t.match(await get('/bomb'), { code: 'RESPONSE_TOO_LARGE', retryable: false });
  t.match(await call({ url: 'http://nowhere.example/' }), { code: 'CONNECTION_FAILED', retryable: true, details: { reason: 'ENOTFOUND' } });
  t.match(await get('/flaky'), { code: 'HTTP_STATUS', retryable: true });
  t.match(await get('/flaky'), { output: { body: { try: 2 } } });
});

const certificate = selfSigned();
t.test('a certificate that is not trusted', { skip: certificate === null && 'no openssl here' }, async (t) => {
  const tls = createTlsServer(certificate!, (_, response) => response.end('secret'));
  await new Promise<void>((resolve) => tls.listen(0, '127.0.0.1', resolve));
  t.teardown(() => new Promise<void>((resolve) => tls.close(() => resolve())));
  const local = parseConnections('network: { allow: [127.0.0.0/8] }', { file: 'c.yaml', dataFolder: null, env: {} });
  const everywhere = stockHandlers(local, unused);
  t.teardown(everywhere.close);
  const url = `https://127.0.0.1:${(tls.address() as AddressInfo).port}/`;
  t.match(await run(everywhere.handlers.integration, jobOf('integration', { url })), { code: 'TLS_FAILED', retryable: false });
});

t.test('redirects', async (t) => {
  t.match(
    await call({ url: `${server.url}/to-echo`, body: { a: 1 } }),
    { output: { body: { method: 'GET', body: '' } } },
    'a POST becomes a GET',
  );
  t.match(await call({ url: `${server.url}/keep-method`, body: { a: 1 } }), { output: { body: { method: 'POST', body: '{"a":1}' } } });
  t.match(await get('/to-echo', { redirects: 0, expect_status: 302 }), { output: { status: 302, headers: { location: '/echo' } } });
  const before = server.received.length;
  t.match(await get('/loop', { redirects: 3 }), { code: 'TOO_MANY_REDIRECTS', retryable: false });
  t.equal(server.received.length - before, 4);
  t.match(await get('/to-private'), { code: 'ADDRESS_REFUSED', retryable: false });
  t.match(await get('/to-file'), { code: 'BAD_REDIRECT', retryable: false });

  t.match(await call({ endpoint: 'elsewhere', headers: { 'X-Mine': 'stays' } }), { output: { status: 200 } });
  const landed = other.last();
  t.equal(landed.headers.authorization, undefined, 'credentials do not leave their origin');
  t.equal(landed.headers['x-key'], undefined);
  t.equal(landed.headers['x-mine'], 'stays');
  t.equal(landed.headers['idempotency-key'], 'w/job/0');
});

t.test('addresses that are not public are refused, however they are written', async (t) => {
  const closed = stockHandlers(parseConnections('', { file: 'c.yaml', dataFolder: null, env: {} }), unused, { resolve });
  t.teardown(closed.close);
  const { port } = server;
  const before = server.received.length;
  const hosts = [
    '127.0.0.1',
    '127.1',
    '2130706433',
    '0x7f000001',
    '0x7f.1',
    '0177.0.0.1',
    '0',
    '0.0.0.0',
    '127.0.0.1.',
    '[::1]',
    '[::]',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '[0:0:0:0:0:ffff:7f00:0001]',
    '[::127.0.0.1]',
    '[64:ff9b::7f00:1]',
    '[2002:7f00:1::]',
    '[fe80::1]',
    '[fd00::1]',
    '①②⑦.⓪.⓪.①',
    '169.254.169.254',
    '10.0.0.1',
    '192.168.0.1',
    'public-looking.example',
    'PUBLIC-LOOKING.example',
    'mixed.example',
    'mapped.example',
  ];
  for (const host of hosts)
    t.match(
      await run(closed.handlers.integration, jobOf('integration', { url: `http://${host}:${port}/echo`, timeout: '2s' })),
      { code: 'ADDRESS_REFUSED', retryable: false, message: /network\.allow/ },
      host,
    );
  t.equal(server.received.length, before, 'and nothing arrived');
  t.match(await call({ url: `http://127.0.0.1:${server.port + 1}/` }), { code: 'ADDRESS_REFUSED' }, 'a port that is not allowed');
  t.match(await call({ url: `http://allowed.example:${port}/echo` }), { output: { status: 200 } }, 'a name that is allowed');
});

t.test('a name is resolved once for a connection: an answer that changes gains nothing', async (t) => {
  let asked = 0;
  const rebinding: Resolve = async () => {
    asked += 1;
    return [{ address: asked === 1 ? '127.0.0.1' : '1.1.1.1', family: 4 }];
  };
  const closed = stockHandlers(parseConnections('', { file: 'c.yaml', dataFolder: null, env: {} }), unused, { resolve: rebinding });
  t.teardown(closed.close);
  t.match(
    await run(closed.handlers.integration, jobOf('integration', { url: `http://rebinding.example:${server.port}/echo`, timeout: '2s' })),
    { code: 'ADDRESS_REFUSED' },
  );
  t.equal(asked, 1);
});

t.test('channels', async (t) => {
  t.match(await call({ channel: 'hook', message: 'hello', data: { n: 1 } }), {
    output: { channel: 'hook', kind: 'webhook', message: 'hello', status: 200 },
  });
  t.match(JSON.parse(server.last().body), { message: 'hello', workflow: { id: 'w-1', name: 'test' }, job: 'job', data: { n: 1 } });
  t.equal(server.last().headers['idempotency-key'], 'w/job/0');
  await call({ channel: 'slack', message: 'hello' });
  t.strictSame(JSON.parse(server.last().body), { text: 'hello' });
  await call({ channel: 'discord', message: 'x'.repeat(3_000) });
  t.equal(JSON.parse(server.last().body).content.length, 2_000);
  t.match(await call({ channel: 'down' }), { code: 'HTTP_STATUS', retryable: true, message: "channel 'down' answered 500: down" });
  const seen = contextOf();
  t.match(await call({ channel: 'log' }, { reason: 'because' }, seen), {
    output: { kind: 'log', message: 'test (w-1): job: {"reason":"because"}' },
  });
  t.strictSame(seen.lines, ['error [log] test (w-1): job: {"reason":"because"}']);
});

t.test('no secret in any error or line', async (t) => {
  const seen = contextOf();
  const ended = [
    await call({ endpoint: 'secret-path' }, null, seen),
    await call({ endpoint: 'refusing' }, null, seen),
    await call({ channel: 'down' }, null, seen),
    await call({ url: `${server.url}/nothing/hunter2-hunter2` }, null, seen),
  ];
  for (const end of ended) t.match(end, { kind: 'error' });
  const said = JSON.stringify([ended, seen.lines]);
  t.notMatch(said, /hunter2|very\/secret/);
  t.match(said, /\*\*\*/);
});

t.test('a cancelled request is given up; a waiting one shows life', async (t) => {
  const seen = contextOf();
  const reason = new Error('stop');
  const running = call({ url: `${server.url}/silent` }, null, seen);
  while (seen.beats < 3) await new Promise((resolve) => setTimeout(resolve, 20));
  seen.cancel(reason);
  t.strictSame(await running, { kind: 'stopped', reason });
});
