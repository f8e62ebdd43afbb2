/**
 * What `defaults` and a job may both say: retry, timeouts, priority, required labels. The job's keys win, one by one.
 *
 * Invariants
 * 1. A key that is absent is absent in the part, and present in the merged policy.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import { formatDuration } from './duration.ts';
import { type Fields, openMap, type Reading, readDuration, readNumber, readText, readTexts, refusesTemplate } from './fields.ts';
import type { JobTimeouts, RetryPolicy } from './graph.ts';
import { describe, type Node } from './node.ts';
import { quote } from './problem.ts';

/** The keys that `defaults` may hold. */
export const POLICY_KEYS = ['timeout', 'timeouts', 'retry', 'priority', 'requires'] as const;

type Written<T> = { -readonly [K in keyof T]?: T[K] | undefined };

/** What one place of the file says. */
export interface PolicyPart {
  readonly retry: Written<Omit<RetryPolicy, 'maxAttemptsWhenLost'>>;
  readonly timeouts: Written<JobTimeouts>;
  readonly priority: number | undefined;
  readonly labels: ReadonlyMap<string, string>;
}

/** What holds for a job. */
export interface Policy {
  readonly retry: RetryPolicy;
  readonly timeouts: JobTimeouts;
  readonly priority: number;
  readonly labels: ReadonlyMap<string, string>;
}

/** Nothing said. */
export const NO_POLICY: PolicyPart = { retry: {}, timeouts: {}, priority: undefined, labels: new Map() };

const DEFAULT_PRIORITY = 5;
const DEFAULT_RETRY = { initialDelayMs: 1_000, factor: 2, maxDelayMs: 60_000, jitter: 0.2 } as const;

/** Reads the policy keys of a map. */
export function readPolicy(reading: Reading, fields: Fields): PolicyPart {
  return {
    retry: readRetry(reading, fields.get('retry')),
    timeouts: readTimeouts(reading, fields),
    priority: readNumber(reading, fields.get('priority'), 'priority', { min: 0, max: 9, whole: true }),
    labels: readLabels(reading, fields.get('requires')),
  };
}

/** The job's part over the part of `defaults`, over what holds when nothing is said. */
export function mergePolicy(defaults: PolicyPart, job: PolicyPart): Policy {
  const retry = { ...defaults.retry, ...written(job.retry) };
  const timeouts = { ...defaults.timeouts, ...written(job.timeouts) };
  const initialDelayMs = retry.initialDelayMs ?? DEFAULT_RETRY.initialDelayMs;
  return {
    retry: {
      maxAttempts: retry.maxAttempts ?? 1,
      maxAttemptsWhenLost: retry.maxAttempts ?? 1 + limits.lostWorkerRedeliveries,
      initialDelayMs,
      factor: retry.factor ?? DEFAULT_RETRY.factor,
      // A long first delay is meant: the default bound gives way to it.
      maxDelayMs: retry.maxDelayMs ?? Math.max(DEFAULT_RETRY.maxDelayMs, initialDelayMs),
      jitter: retry.jitter ?? DEFAULT_RETRY.jitter,
      on: retry.on ?? [],
      notOn: retry.notOn ?? [],
    },
    timeouts: {
      queueMs: timeouts.queueMs ?? null,
      runMs: timeouts.runMs ?? null,
      heartbeatMs: timeouts.heartbeatMs ?? null,
      totalMs: timeouts.totalMs ?? null,
    },
    priority: job.priority ?? defaults.priority ?? DEFAULT_PRIORITY,
    labels: defaults.labels.size === 0 ? job.labels : new Map([...defaults.labels, ...job.labels]),
  };
}

/** Only the keys that are written, so that a spread does not overwrite with undefined. */
function written<T extends object>(part: T): T {
  return Object.fromEntries(Object.entries(part).filter(([, value]) => value !== undefined)) as T;
}

const RETRY_KEYS = ['max_attempts', 'initial_delay', 'factor', 'max_delay', 'jitter', 'on', 'not_on'] as const;

function readRetry(reading: Reading, node: Node | undefined): PolicyPart['retry'] {
  if (node === undefined) return {};
  if (node.kind === 'scalar' && typeof node.value === 'number') {
    reading.problems.add(node, 'bad-type', `retry must be a map, found ${describe(node)}`, `write { max_attempts: ${node.value} }`);
    return {};
  }
  const fields = openMap(reading, node, RETRY_KEYS, 'retry');
  if (fields === undefined) return {};
  const maxAttempts = readNumber(reading, fields.get('max_attempts'), 'max_attempts', { min: 1, max: limits.maxAttempts, whole: true });
  const initialDelayMs = readDuration(reading, fields.get('initial_delay'), 'initial_delay', true);
  const maxDelayMs = readDuration(reading, fields.get('max_delay'), 'max_delay', true);
  if (initialDelayMs !== undefined && maxDelayMs !== undefined && initialDelayMs > maxDelayMs) {
    const message = `max_delay (${formatDuration(maxDelayMs)}) is shorter than initial_delay (${formatDuration(initialDelayMs)})`;
    reading.problems.add(fields.get('max_delay')!, 'conflict', message, `at least ${formatDuration(initialDelayMs)}`);
  }
  return {
    maxAttempts,
    initialDelayMs,
    maxDelayMs,
    factor: readNumber(reading, fields.get('factor'), 'factor', { min: 1, max: 100, whole: false }),
    jitter: readNumber(reading, fields.get('jitter'), 'jitter', { min: 0, max: 1, whole: false }),
    on: readCodes(reading, fields.get('on'), 'on'),
    notOn: readCodes(reading, fields.get('not_on'), 'not_on'),
  };
}

/** Error codes: one or a list. */
function readCodes(reading: Reading, node: Node | undefined, what: string): string[] | undefined {
  if (node === undefined) return undefined;
  return readTexts(reading, node, what).flatMap(({ text, node: item }) => {
    if (/^[A-Za-z][A-Za-z0-9_.-]*$/.test(text) && text.length <= limits.nameLength) return [text];
    reading.problems.add(item, 'bad-value', `${quote(text)} is no error code`, 'a word such as INVALID_INPUT');
    return [];
  });
}

const TIMEOUT_KEYS = ['queue', 'run', 'heartbeat', 'total'] as const;

function readTimeouts(reading: Reading, fields: Fields): PolicyPart['timeouts'] {
  const short = fields.get('timeout');
  const node = fields.get('timeouts');
  const parts = node === undefined ? undefined : openMap(reading, node, TIMEOUT_KEYS, 'timeouts');
  const runMs = readDuration(reading, short, 'timeout');
  const run = parts?.get('run');
  if (short !== undefined && run !== undefined) {
    reading.problems.add(short, 'conflict', '`timeout` and `timeouts.run` say the same thing, and both are there', 'keep one of them');
  }
  const read = (key: (typeof TIMEOUT_KEYS)[number]): number | undefined => readDuration(reading, parts?.get(key), `timeouts.${key}`);
  return { queueMs: read('queue'), runMs: read('run') ?? runMs, heartbeatMs: read('heartbeat'), totalMs: read('total') };
}

function readLabels(reading: Reading, node: Node | undefined): ReadonlyMap<string, string> {
  const labels = new Map<string, string>();
  const map = node === undefined ? undefined : openMap(reading, node, ['labels'], 'requires')?.get('labels');
  if (map === undefined) return labels;
  if (map.kind !== 'map') {
    reading.problems.add(map, 'bad-type', `labels must be a map, found ${describe(map)}`, 'write { region: eu }');
    return labels;
  }
  if (map.entries.size > limits.labels) {
    reading.problems.add(map, 'limit', `${map.entries.size} labels are more than labels (${limits.labels})`, 'require fewer');
  }
  for (const entry of map.entries.values()) {
    if (!/^[A-Za-z0-9][A-Za-z0-9._/-]*$/.test(entry.name) || entry.name.length > limits.labelKeyLength) {
      const hint = `1 to ${limits.labelKeyLength} of A-Z a-z 0-9 . _ / -, beginning with a letter or digit`;
      reading.problems.addKey(map, entry.name, entry.at, 'bad-name', `the label ${quote(entry.name)} has no valid name`, hint);
      continue;
    }
    const text = readText(reading, entry.value, `the label ${entry.name}`, limits.labelValueLength);
    if (text !== undefined && !refusesTemplate(reading, entry.value, text, `the label ${entry.name}`)) labels.set(entry.name, text);
  }
  return labels;
}
