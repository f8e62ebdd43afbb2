/**
 * The settings of the programs as data: what `--help`, `wf config`, the docs and the programs themselves read.
 * `resolveSettings` turns arguments and environment into checked values.
 */
import { limits } from './limits.ts';
import { hidePassword, type Setting, type Settings, type SettingTable } from './setting.ts';
import { isWorkerId, workerIdRule } from './stream.ts';

export * from './setting.ts';

const logLevel = {
  flag: '--log-level',
  env: 'LOG_LEVEL',
  type: 'choice',
  choices: ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
  default: 'info',
  doc: 'least severe lines that are written',
} as const satisfies Setting;

const token = {
  flag: '--token',
  env: 'WORKFLOW_TOKEN',
  type: 'text',
  default: null,
  secret: true,
  doc: 'bearer token that clients and workers must show; prefer the variable, flags are visible to other users',
} as const satisfies Setting;

const coordinatorUrl = {
  flag: '--coordinator-url',
  env: 'COORDINATOR_URL',
  type: 'urls',
  protocols: ['http:', 'https:', 'ws:', 'wss:'],
  default: ['http://localhost:8000'],
  doc: 'addresses of the coordinators, a,b: the one that takes calls is found; http and ws forms mean the same place',
} as const satisfies Setting;

/** Settings of the coordinator. */
export const coordinatorSettings = table({
  program: 'wf coordinator',
  settings: {
    port: {
      flag: '--port',
      env: 'PORT',
      type: 'integer',
      min: 0,
      max: 65_535,
      default: 8000,
      doc: 'port for everything: REST, Connect, gRPC, worker streams; 0 takes a free one',
    },
    grpcPort: {
      flag: '--grpc-port',
      env: 'GRPC_PORT',
      type: 'integer',
      min: 0,
      max: 65_535,
      default: null,
      doc: 'a port of its own for gRPC, besides the common one',
    },
    host: { flag: '--host', env: 'HOST', type: 'text', default: '127.0.0.1', doc: 'address to listen on; 0.0.0.0 for all' },
    databaseUrl: {
      flag: '--database-url',
      env: 'DATABASE_URL',
      type: 'url',
      protocols: ['postgresql:', 'postgres:'],
      default: null,
      doc: 'PostgreSQL that keeps the journal; several coordinators on one database are one active and standbys',
    },
    redisUrl: {
      flag: '--redis-url',
      env: 'REDIS_URL',
      type: 'url',
      protocols: ['redis:', 'rediss:'],
      default: null,
      doc: 'Redis: the live view in front of PostgreSQL; without a database it keeps the journal itself',
    },
    redisPrefix: {
      flag: '--redis-prefix',
      env: 'REDIS_PREFIX',
      type: 'text',
      default: 'wf',
      doc: 'what the names of all keys in Redis begin with: several installations may share a server, each with its own',
    },
    dataDir: {
      flag: '--data-dir',
      env: 'DATA_DIR',
      type: 'text',
      default: null,
      doc: 'folder for the embedded journal, when there is neither a database nor Redis; without it state is in memory',
    },
    retentionDays: {
      flag: '--retention-days',
      env: 'RETENTION_DAYS',
      type: 'integer',
      min: 1,
      max: 36_500,
      default: 30,
      doc: 'how long ended workflows, their journal and their idempotency keys are kept, in days',
    },
    advertiseUrl: {
      flag: '--advertise-url',
      env: 'ADVERTISE_URL',
      type: 'url',
      protocols: ['http:', 'https:'],
      default: null,
      doc: 'where others reach this coordinator: a standby names it to whoever calls; the address that it listens on if absent',
    },
    corsOrigins: {
      flag: '--cors-origins',
      env: 'CORS_ORIGINS',
      type: 'urls',
      protocols: ['http:', 'https:'],
      default: [],
      doc: "origins of web pages that may call, besides the coordinator's own: https://ops.example.com,http://localhost:3000",
    },
    token,
    insecure: {
      flag: '--insecure',
      env: 'WORKFLOW_INSECURE',
      type: 'boolean',
      default: false,
      doc: 'listen beyond this machine without a token',
    },
    logLevel,
  },
  rules: [
    {
      reads: ['host', 'token', 'insecure'],
      check: ({ host, token, insecure }) =>
        isLoopback(host) || token !== null || insecure
          ? null
          : `HOST: ${JSON.stringify(host)} is reachable from other machines: set WORKFLOW_TOKEN, or say --insecure if anybody may use it`,
    },
    {
      reads: ['corsOrigins'],
      check: ({ corsOrigins }) => {
        const found = corsOrigins.find((address) => new URL(address).origin !== address);
        return found === undefined
          ? null
          : `CORS_ORIGINS: ${hidePassword(JSON.stringify(found))} is no origin; as browsers send it: ${new URL(found).origin}`;
      },
    },
    {
      reads: ['redisPrefix'],
      check: ({ redisPrefix }) =>
        /^[a-z0-9:-]{1,64}$/i.test(redisPrefix)
          ? null
          : `REDIS_PREFIX: ${JSON.stringify(redisPrefix)}: must be letters, digits, dashes and colons, 64 at most`,
    },
    {
      reads: ['port', 'grpcPort'],
      check: ({ port, grpcPort }) =>
        grpcPort !== null && grpcPort !== 0 && grpcPort === port
          ? `GRPC_PORT: ${grpcPort} is PORT too; gRPC is served on PORT anyway, so leave GRPC_PORT out or take another port`
          : null,
    },
  ],
});

/** Settings of the stock worker. */
export const workerSettings = table({
  program: 'wf worker',
  settings: {
    coordinatorUrl,
    workerId: {
      flag: '--worker-id',
      env: 'WORKER_ID',
      type: 'text',
      default: null,
      doc: 'name of this worker, stable over restarts; made up if absent',
    },
    slots: {
      flag: '--slots',
      env: 'WORKER_SLOTS',
      type: 'integer',
      min: 1,
      max: limits.workerSlots,
      default: 10,
      doc: 'attempts at once',
    },
    labels: { flag: '--labels', env: 'WORKER_LABELS', type: 'labels', default: {}, doc: 'labels that jobs may require, k=v,k=v' },
    types: {
      flag: '--types',
      env: 'WORKER_TYPES',
      type: 'list',
      default: [],
      doc: 'job types to take, a,b,c; all that it knows if absent',
    },
    connectionsFile: {
      flag: '--connections-file',
      env: 'CONNECTIONS_FILE',
      type: 'text',
      default: null,
      doc: 'YAML file of named schemas, endpoints, channels and stores',
    },
    dataDir: {
      flag: '--data-dir',
      env: 'DATA_DIR',
      type: 'text',
      default: '.data',
      doc: 'folder below which jobs may keep files; made when the first file comes',
    },
    drainMs: {
      flag: '--drain-ms',
      env: 'WORKER_DRAIN_MS',
      type: 'integer',
      min: 0,
      max: 86_400_000,
      default: 10_000,
      doc: 'time for running attempts to end when the worker is told to, in milliseconds; then they go to other workers',
    },
    token: { ...token, doc: 'bearer token to show to the coordinator; prefer the variable, flags are visible to other users' },
    logLevel,
  },
  rules: [
    {
      reads: ['workerId'],
      check: ({ workerId }) =>
        workerId === null || isWorkerId(workerId) ? null : `WORKER_ID: ${JSON.stringify(workerId)}: ${workerIdRule}`,
    },
    {
      reads: ['labels'],
      check: ({ labels }) => labelsProblem('WORKER_LABELS', labels),
    },
  ],
});

/** Settings of clients: the library's default and the program `wf`. */
export const clientSettings = table({
  program: 'wf',
  settings: {
    coordinatorUrl,
    token: { ...token, doc: 'bearer token to show to the coordinator; prefer the variable, flags are visible to other users' },
  },
  rules: [],
});

/** What is wrong with labels as a set: too many, too long. Null when nothing is. */
function labelsProblem(name: string, labels: Readonly<Record<string, string>>): string | null {
  const entries = Object.entries(labels);
  if (entries.length > limits.labels) return `${name}: ${entries.length} labels, at most ${limits.labels}`;
  const long = entries.find(([key, value]) => key.length > limits.labelKeyLength || value.length > limits.labelValueLength);
  if (long === undefined) return null;
  return `${name}: ${JSON.stringify(long[0])}: keys have at most ${limits.labelKeyLength} characters, values at most ${limits.labelValueLength}`;
}

/** Whether an address to listen on is reachable from this machine only. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** Keeps the literal types, so that values are typed. */
function table<const S extends Settings>(definition: SettingTable<S>): SettingTable<S> {
  return definition;
}
