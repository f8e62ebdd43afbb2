/**
 * What a file says about one job: its map read into plain values, references not yet resolved.
 *
 * Invariants
 * 1. A job whose id or type is wrong is still a job: its edges count, so that a fault in it is told once.
 */
import {
  type Fields,
  missing,
  openMap,
  type Reading,
  readFlag,
  readName,
  readTexts,
  readTitle,
  readWord,
  refusesTemplate,
} from './fields.ts';
import { describe, type Node, type ScalarNode } from './node.ts';
import { mergePolicy, NO_POLICY, type Policy, type PolicyPart, readPolicy } from './policy.ts';
import { quote } from './problem.ts';

/** A job named by another one. */
export interface JobReference {
  readonly id: string;
  readonly node: ScalarNode;
}

/** A job as read. */
export interface JobFile {
  readonly index: number;
  readonly node: Node;
  /** Empty when it has none. */
  readonly id: string;
  readonly idNode: Node | null;
  readonly name: string;
  readonly type: string;
  readonly onSuccess: readonly JobReference[];
  readonly onFailure: readonly JobReference[];
  readonly needs: readonly JobReference[];
  readonly recover: boolean;
  readonly alwaysRun: boolean;
  readonly allowFailure: boolean;
  readonly join: 'all' | 'any' | 'all_done';
  readonly condition: Node | null;
  readonly policy: Policy;
  readonly parameters: Node | null;
  readonly outputsSchema: Node | null;
  /** Whether it says `for_each`: refused, but its expressions may name `item` and `index`. */
  readonly forEach: boolean;
}

const JOB_KEYS = [
  'id',
  'name',
  'type',
  'parameters',
  'on_success',
  'on_failure',
  'needs',
  'always_run',
  'if',
  'join',
  'allow_failure',
  'retry',
  'timeout',
  'timeouts',
  'priority',
  'requires',
  'for_each',
  'outputs_schema',
] as const;

const LATER_TYPES: Readonly<Record<string, string>> = { wait: 'durable timers', approval: 'approvals', workflow: 'child workflows' };

/** Reads one job over the workflow's defaults. */
export function readJob(reading: Reading, node: Node, index: number, defaults: PolicyPart): JobFile {
  const fields = openMap(reading, node, JOB_KEYS, 'a job');
  if (fields === undefined) return emptyJob(node, index, defaults);
  missing(reading, fields, 'id', 'the job', '1 to 128 of A-Z a-z 0-9 . _ -');
  missing(reading, fields, 'type', 'the job', 'what a worker must be able to do, for instance processing');
  const forEach = fields.entry('for_each');
  if (forEach !== undefined) {
    const hint = 'remove the key, or handle the list in one job';
    reading.problems.addKey(fields.map, 'for_each', forEach.at, 'not-supported', '`for_each` is not supported yet', hint);
  }
  const idNode = fields.get('id') ?? null;
  readName(reading, idNode ?? undefined, 'the id');
  // A malformed id is still what others mean by it.
  const id = idNode?.kind === 'scalar' && typeof idNode.value === 'string' ? idNode.value : '';
  const failure = readOnFailure(reading, fields.get('on_failure'));
  return {
    index,
    node,
    id,
    idNode,
    name: readTitle(reading, fields.get('name'), 'name') ?? id,
    type: readType(reading, fields.get('type')),
    onSuccess: readReferences(reading, fields.get('on_success'), 'on_success'),
    onFailure: failure.references,
    needs: readReferences(reading, fields.get('needs'), 'needs'),
    recover: failure.recover,
    alwaysRun: readFlag(reading, fields.get('always_run'), 'always_run') ?? false,
    allowFailure: readFlag(reading, fields.get('allow_failure'), 'allow_failure') ?? false,
    join: readWord(reading, fields.get('join'), 'join', ['all', 'any', 'all_done']) ?? 'all',
    condition: readCondition(reading, fields),
    policy: mergePolicy(defaults, readPolicy(reading, fields)),
    parameters: fields.get('parameters') ?? null,
    outputsSchema: fields.get('outputs_schema') ?? null,
    forEach: forEach !== undefined,
  };
}

function emptyJob(node: Node, index: number, defaults: PolicyPart): JobFile {
  const nothing = { onSuccess: [], onFailure: [], needs: [], condition: null, parameters: null, outputsSchema: null };
  const flags = { recover: false, alwaysRun: false, allowFailure: false, forEach: false };
  return {
    index,
    node,
    id: '',
    idNode: null,
    name: '',
    type: '',
    join: 'all',
    policy: mergePolicy(defaults, NO_POLICY),
    ...nothing,
    ...flags,
  };
}

function readType(reading: Reading, node: Node | undefined): string {
  const type = readName(reading, node, 'the type');
  if (type === undefined || node === undefined) return '';
  if (Object.hasOwn(LATER_TYPES, type)) {
    const message = `\`type: ${type}\` (${LATER_TYPES[type]}) is not supported yet`;
    reading.problems.add(node, 'not-supported', message, 'use a type that a worker handles');
  }
  return type;
}

/** The condition may also be a YAML boolean. */
function readCondition({ problems }: Reading, fields: Fields): Node | null {
  const node = fields.get('if');
  if (node === undefined) return null;
  if (node.kind === 'scalar' && (typeof node.value === 'string' || typeof node.value === 'boolean')) return node;
  problems.add(node, 'bad-type', `if must be an expression, found ${describe(node)}`, "write for instance  if: inputs.env == 'prod'");
  return null;
}

/** Ids: one or a list. */
function readReferences(reading: Reading, node: Node | undefined, what: string): JobReference[] {
  if (node === undefined) return [];
  if (node.kind === 'map') {
    reading.problems.add(node, 'bad-type', `${what} must be an id or a list of ids, found a map`, 'only on_failure takes { run, recover }');
    return [];
  }
  return readTexts(reading, node, what).flatMap(({ text, node: item }) => {
    if (refusesTemplate(reading, item, text, what)) return [];
    return [{ id: text, node: item }];
  });
}

/** An id, a list, or `{ run: [alert], recover: true }`. */
function readOnFailure(reading: Reading, node: Node | undefined): { readonly references: JobReference[]; readonly recover: boolean } {
  if (node === undefined || node.kind !== 'map') return { references: readReferences(reading, node, 'on_failure'), recover: false };
  const fields = openMap(reading, node, ['run', 'recover'], 'on_failure');
  if (fields === undefined) return { references: [], recover: false };
  missing(reading, fields, 'run', 'on_failure', 'write { run: [alert], recover: true }');
  const references = readReferences(reading, fields.get('run'), 'run');
  const recover = readFlag(reading, fields.get('recover'), 'recover') ?? false;
  const run = fields.get('run');
  if (recover && run?.kind === 'list' && run.items.length === 0) {
    reading.problems.add(run, 'out-of-range', `${quote('recover')} needs a job that recovers, and run is empty`, 'name at least one job');
  }
  return { references, recover };
}
