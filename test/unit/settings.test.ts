/**
 * Settings of the programs: where a value comes from, and every mistake at once.
 */
import {
  clientSettings,
  coordinatorSettings,
  resolveSettings,
  type Setting,
  settingsHelp,
  showSetting,
  workerSettings,
} from '@workflow-orchestrator/proto/settings';
import t from 'tap';

t.test('defaults when nothing is given', async (t) => {
  const coordinator = resolveSettings(coordinatorSettings, [], {});
  t.match(coordinator, {
    kind: 'ok',
    values: {
      port: 8000,
      grpcPort: null,
      host: '127.0.0.1',
      databaseUrl: null,
      dataDir: null,
      token: null,
      insecure: false,
      logLevel: 'info',
    },
    sources: { port: 'default', token: 'default' },
  });
  t.match(resolveSettings(workerSettings, [], {}), {
    kind: 'ok',
    values: { coordinatorUrl: ['http://localhost:8000'], workerId: null, labels: {}, types: [] },
  });
  t.match(resolveSettings(clientSettings, [], {}), { kind: 'ok', values: { coordinatorUrl: ['http://localhost:8000'], token: null } });
});

t.test('a flag wins over the environment, the environment over the default', async (t) => {
  const both = resolveSettings(coordinatorSettings, ['--port', '9000'], { PORT: '9001', HOST: 'localhost', DATA_DIR: '' });
  if (both.kind !== 'ok') return t.fail(both.problems.join());
  const port: number = both.values.port;
  t.equal(port, 9000);
  t.equal(both.sources.port, 'flag');
  t.equal(both.sources.host, 'environment');
  t.equal(both.sources.dataDir, 'default', 'set to nothing counts as not set');
});

t.test('every form of a value', async (t) => {
  const worker = resolveSettings(
    workerSettings,
    ['--labels', 'region=eu,gpu=true', '--labels=zone=a=b', '--types=validation', '--types', 'cleanup,validation', '--slots=3'],
    { COORDINATOR_URL: 'ws://localhost:8000/workers', LOG_LEVEL: 'WARN' },
  );
  t.match(worker, {
    kind: 'ok',
    values: {
      labels: { region: 'eu', gpu: 'true', zone: 'a=b' },
      types: ['validation', 'cleanup'],
      slots: 3,
      logLevel: 'warn',
      coordinatorUrl: ['ws://localhost:8000/workers'],
    },
  });
  const database = resolveSettings(coordinatorSettings, [], { DATABASE_URL: 'postgresql+psycopg://me:pass@localhost:5432/db' });
  t.match(database, { kind: 'ok', values: { databaseUrl: 'postgresql://me:pass@localhost:5432/db' } });
  t.match(resolveSettings(coordinatorSettings, ['--insecure', '--host', '0.0.0.0'], {}), { kind: 'ok', values: { insecure: true } });
  t.match(resolveSettings(coordinatorSettings, ['--insecure=no'], {}), { kind: 'ok', values: { insecure: false } });
});

t.test('one address of a coordinator or several', async (t) => {
  const read = (argv: string[], env: Record<string, string> = {}) => {
    const resolved = resolveSettings(clientSettings, argv, env);
    return resolved.kind === 'ok' ? resolved.values.coordinatorUrl : resolved.problems;
  };
  t.same(read([], { COORDINATOR_URL: 'http://a:1, ws://b/workers,,http://a:1' }), ['http://a:1', 'ws://b/workers']);
  t.same(read(['--coordinator-url', 'http://a', '--coordinator-url=http://b,http://c']), ['http://a', 'http://b', 'http://c']);
  t.same(read([], { COORDINATOR_URL: 'a:1' }), [
    'COORDINATOR_URL: "a:1": must be a URL that starts with http:// or https:// or ws:// or wss://',
  ]);
  t.same(read(['--coordinator-url=http://a,ftp://me:pass@b,x']), [
    '--coordinator-url: "http://a,ftp://me:********@b,x": "ftp://me:********@b" must be a URL that starts with http:// or https:// or ws:// or wss://',
  ]);
  t.same(read(['--coordinator-url', ' , ']), ['--coordinator-url: " , ": must name at least one URL']);
  const { coordinatorUrl } = clientSettings.settings;
  t.equal(showSetting(coordinatorUrl, ['http://a', 'http://me:pass@b']), 'http://a,http://me:********@b');
  t.match(settingsHelp(clientSettings), /--coordinator-url <urls> .*\(default http:\/\/localhost:8000\)/);
});

t.test('every problem at once, in words', async (t) => {
  const bad = resolveSettings(coordinatorSettings, ['--prot', '9000', 'loose', '--data-dir', '--log-level', 'warning', '--port=70000'], {
    DATABASE_URL: 'mysql://me:pass@x/y',
    REDIS_URL: 'nonsense',
    GRPC_PORT: 'http',
    WORKFLOW_INSECURE: 'maybe',
    WORKFLOW_TOKEN: 'has a space',
  });
  t.same(bad, {
    kind: 'bad',
    problems: [
      'unknown flag --prot; did you mean --port?',
      'unexpected argument "loose": settings are given as --name value',
      '--data-dir needs a value: folder for the embedded journal, when there is neither a database nor Redis; without it state is in memory',
      '--port: "70000": must be a whole number from 0 to 65535',
      'GRPC_PORT: "http": must be a whole number from 0 to 65535',
      'DATABASE_URL: "mysql://me:********@x/y": must be a URL that starts with postgresql:// or postgres://',
      'REDIS_URL: "nonsense": must be a URL that starts with redis:// or rediss://',
      'WORKFLOW_TOKEN: must be printable ASCII without spaces, so that it fits into a header',
      'WORKFLOW_INSECURE: "maybe": must be true or false',
      '--log-level: "warning": must be one of trace, debug, info, warn, error, fatal, silent',
    ],
  });
  t.match(resolveSettings(workerSettings, ['--labels', 'oops', '--worker-id', 'a b', '--slots=0'], {}), {
    kind: 'bad',
    problems: [/--slots: "0"/, /--labels: "oops".*k=v/, /WORKER_ID: "a b"/],
  });
  const many = Array.from({ length: 33 }, (_, index) => `k${index}=v`).join();
  t.match(resolveSettings(workerSettings, [], { WORKER_LABELS: many }), {
    kind: 'bad',
    problems: ['WORKER_LABELS: 33 labels, at most 32'],
  });
  t.match(resolveSettings(workerSettings, [], { WORKER_LABELS: `${'k'.repeat(64)}=v` }), { kind: 'bad', problems: [/at most 63/] });
});

t.test('listening beyond this machine needs a token or a decision', async (t) => {
  const listen = (argv: string[], env: Record<string, string> = {}) => resolveSettings(coordinatorSettings, argv, env).kind;
  t.equal(listen(['--host', '0.0.0.0']), 'bad');
  t.equal(listen(['--host', '::']), 'bad');
  t.equal(listen(['--host', '127.0.0.2']), 'ok');
  t.equal(listen(['--host', 'localhost']), 'ok');
  t.equal(listen(['--host', '0.0.0.0', '--insecure']), 'ok');
  t.equal(listen(['--host', '0.0.0.0'], { WORKFLOW_TOKEN: 'secret' }), 'ok');
  t.equal(listen(['--port', '9000', '--grpc-port', '9000']), 'bad');
  t.equal(listen(['--port', '0', '--grpc-port', '0']), 'ok');
});

t.test('origins of web pages are as browsers send them', async (t) => {
  const read = (given: string) => {
    const resolved = resolveSettings(coordinatorSettings, [], { CORS_ORIGINS: given });
    return resolved.kind === 'ok' ? resolved.values.corsOrigins : resolved.problems;
  };
  t.same(read(''), []);
  t.same(read('https://ops.example.com,http://localhost:3000'), ['https://ops.example.com', 'http://localhost:3000']);
  for (const near of [
    'https://ops.example.com/',
    'https://OPS.example.com',
    'https://ops.example.com:443',
    'https://ops.example.com/page',
  ]) {
    t.same(read(`http://a,${near}`), [`CORS_ORIGINS: "${near}" is no origin; as browsers send it: https://ops.example.com`]);
  }
  t.match(read('https://me:pass@b'), [/"https:\/\/me:\*+@b" is no origin/]);
  t.match(read('*'), [/CORS_ORIGINS: "\*": must be a URL/]);
});

t.test('a prefix of keys is one that no key can break out of', async (t) => {
  const prefix = (given: string) => resolveSettings(coordinatorSettings, [], { REDIS_PREFIX: given });
  for (const good of ['wf', 'team-a:wf2', 'A'.repeat(64)]) t.match(prefix(good), { kind: 'ok', values: { redisPrefix: good } });
  for (const bad of ['{1}', 'a b', 'a*', 'a_b', 'ü', 'A'.repeat(65)])
    t.match(prefix(bad), { kind: 'bad', problems: [/^REDIS_PREFIX: ".*must be letters, digits, dashes and colons/] });
  t.match(resolveSettings(coordinatorSettings, [], {}), { kind: 'ok', values: { redisPrefix: 'wf' } });
});

t.test('what people are shown hides secrets', async (t) => {
  const { settings } = coordinatorSettings;
  t.equal(showSetting(settings.token, 'very-secret'), '********');
  t.equal(showSetting(settings.databaseUrl, 'postgresql://me:pass@h/db'), 'postgresql://me:********@h/db');
  t.equal(showSetting(settings.redisUrl, 'redis://h:6379/0'), 'redis://h:6379/0');
  t.equal(showSetting(workerSettings.settings.labels, { a: 'b', c: 'd' }), 'a=b,c=d');
  t.equal(showSetting(workerSettings.settings.types, ['a', 'b']), 'a,b');
  t.equal(showSetting(settings.grpcPort, null), '');
  const help = settingsHelp(coordinatorSettings);
  for (const setting of Object.values<Setting>(settings)) t.ok(help.includes(setting.flag) && help.includes(setting.env), setting.flag);
});
