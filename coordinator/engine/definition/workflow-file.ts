/**
 * What a file says about the workflow as a whole: the tree read into plain values, references not yet resolved.
 *
 * Invariants
 * 1. Reading goes on after a fault: what could be read is there, what could not has its default.
 * 2. Features that are not built yet are refused by name, never ignored.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import { type Fields, missing, openMap, type Reading, readDuration, readName, readText } from './fields.ts';
import { type JobFile, readJob } from './job-file.ts';
import { describe, type ListNode, type MapNode, type Node } from './node.ts';
import { NO_POLICY, POLICY_KEYS, readPolicy } from './policy.ts';

/** A file as read. */
export interface WorkflowFile {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly timeoutMs: number | null;
  readonly cleanupTimeoutMs: number;
  readonly inputs: MapNode | null;
  /** Whether there are inputs that could not be read: any name may be one. */
  readonly inputsUnreadable: boolean;
  readonly outputs: Node | null;
  readonly idempotencyKey: Node | null;
  readonly jobs: readonly JobFile[];
}

const DEFAULT_CLEANUP_MS = 5 * 60_000;
const WORKFLOW_KEYS = [
  'name',
  'version',
  'description',
  'inputs',
  'outputs',
  'timeout',
  'cleanup_timeout',
  'concurrency',
  'idempotency_key',
  'defaults',
  'schedule',
  'jobs',
] as const;
const OUTLINE = 'workflow: { name: ..., jobs: [ { id: ..., type: ... } ] }';

/** Reads a whole file; null when there is no `workflow` to speak of. */
export function readWorkflow(reading: Reading, root: Node): WorkflowFile | null {
  const { problems } = reading;
  if (root.kind === 'map' && !root.entries.has('workflow') && (root.entries.has('jobs') || root.entries.has('name'))) {
    // One fault, not one for each key that stands a level too high.
    problems.addKey(root, 'workflow', null, 'missing-key', "the file has no 'workflow'", 'put everything below a first line  workflow:');
    return null;
  }
  const file = openMap(reading, root, ['workflow'], 'the file');
  if (file === undefined) return null;
  missing(reading, file, 'workflow', 'the file', OUTLINE);
  const node = file.get('workflow');
  const fields = node === undefined ? undefined : openMap(reading, node, WORKFLOW_KEYS, 'workflow');
  if (fields === undefined) return null;

  missing(reading, fields, 'name', 'the workflow', `1 to ${limits.nameLength} of A-Z a-z 0-9 . _ -`);
  missing(reading, fields, 'jobs', 'the workflow', 'write  jobs: [ { id: first, type: processing } ]');
  const notYet = { concurrency: 'limits on how many workflows run at once', schedule: 'starting workflows by a schedule' };
  for (const [key, what] of Object.entries(notYet)) {
    const entry = fields.entry(key);
    if (entry === undefined) continue;
    problems.addKey(fields.map, key, entry.at, 'not-supported', `\`${key}\` (${what}) is not supported yet`, 'remove the key');
  }
  return {
    name: readName(reading, fields.get('name'), 'the name') ?? '',
    version: readText(reading, fields.get('version'), 'version', limits.nameLength) ?? '',
    description: readText(reading, fields.get('description'), 'description') ?? '',
    timeoutMs: readDuration(reading, fields.get('timeout'), 'timeout') ?? null,
    cleanupTimeoutMs: readDuration(reading, fields.get('cleanup_timeout'), 'cleanup_timeout') ?? DEFAULT_CLEANUP_MS,
    ...readInputs(reading, fields),
    outputs: fields.get('outputs') ?? null,
    idempotencyKey: fields.get('idempotency_key') ?? null,
    jobs: readJobs(reading, fields),
  };
}

function readInputs({ problems }: Reading, fields: Fields): Pick<WorkflowFile, 'inputs' | 'inputsUnreadable'> {
  const node = fields.entry('inputs')?.value;
  if (node === undefined || (node.kind === 'scalar' && node.value === null)) return { inputs: null, inputsUnreadable: false };
  if (node.kind === 'map') return { inputs: node, inputsUnreadable: false };
  if (node.kind !== 'broken') {
    problems.add(node, 'bad-type', `inputs must be a map, found ${describe(node)}`, 'write  inputs: { env: { type: string } }');
  }
  return { inputs: null, inputsUnreadable: true };
}

function readJobs(reading: Reading, fields: Fields): JobFile[] {
  const { problems } = reading;
  const node = fields.get('jobs');
  const defaultsNode = fields.get('defaults');
  const defaultsFields = defaultsNode === undefined ? undefined : openMap(reading, defaultsNode, POLICY_KEYS, 'defaults');
  const defaults = defaultsFields === undefined ? NO_POLICY : readPolicy(reading, defaultsFields);
  if (node === undefined) return [];
  if (node.kind !== 'list') {
    const hint = node.kind === 'map' ? `write a list: - id: ${[...node.entries.keys()][0] ?? 'first'}` : 'write a list: - id: first';
    problems.add(node, 'bad-type', `jobs must be a list, found ${describe(node)}`, hint);
    return [];
  }
  if (node.items.length === 0) problems.add(node, 'out-of-range', 'jobs is empty', `1 to ${limits.jobs} jobs`);
  return withinLimit(reading, node).map((item, index) => readJob(reading, item, index, defaults));
}

function withinLimit({ problems }: Reading, { items }: ListNode): readonly Node[] {
  if (items.length <= limits.jobs) return items;
  const message = `${items.length} jobs are more than jobs (${limits.jobs})`;
  problems.add(items[limits.jobs], 'limit', message, 'split the workflow');
  return items;
}
