/**
 * What the library's type check does not know: fields of values that may be null, words that people bring from elsewhere, loops that need a mark.
 *
 * Invariants
 * 1. Reads the syntax tree only; every fault carries the offset in the rewritten text.
 */
import type { ASTNode } from '@marcbachmann/cel-js';
import type { PatternCheck } from '../pattern.ts';
import { GUARD } from './cel.ts';
import { markRange } from './cost.ts';
import { REPLACED } from './names.ts';

/** A fault, at an offset of the rewritten text. */
export interface Fault {
  readonly rule: 'expression-type' | 'unknown-name';
  readonly offset: number;
  readonly message: string;
  readonly hint: string;
}

/** What an expression reads besides jobs and inputs. */
export interface Reads {
  readonly workflow: boolean;
  readonly failure: boolean;
  readonly inputs: boolean;
  /** Neither these nor jobs, nor `item` or `index`: always the same value. */
  readonly nothing: boolean;
}

/** The faults of an expression, and what it reads. */
export interface Inspection {
  readonly faults: readonly Fault[];
  readonly reads: Reads;
}

const LOOPS = new Set(['map', 'filter', 'all', 'exists', 'exists_one']);
const FAILURE_FIELDS = ['job', 'error', 'attempts'];
const ERROR_FIELDS = ['code', 'message'];

/** Looks through an expression. `forEach`: whether `item` and `index` may be named. */
export function inspect(root: ASTNode, forEach: boolean, patterns: PatternCheck): Inspection {
  const faults: Fault[] = [];
  const roots = new Set<string>();
  const fault: Tell = (node, message, hint, rule = 'expression-type') => {
    faults.push({ rule, offset: node.start, message, hint });
  };
  const open: Visit[] = [{ node: root, bound: [] }];
  for (let visit = open.pop(); visit !== undefined; visit = open.pop()) {
    const { node, bound } = visit;
    switch (node.op) {
      case 'id':
        if (bound.includes(node.args)) break;
        roots.add(node.args);
        if ((node.args === 'item' || node.args === 'index') && !forEach) {
          fault(node, `'${node.args}' is only there in a for_each job`, '', 'unknown-name');
        }
        break;
      case '.':
        checkField(node, fault);
        break;
      case 'call':
        checkCall(node, fault);
        break;
      case 'rcall':
        if (LOOPS.has(node.args[0])) markRange(node.args[1]);
        checkMethod(node, fault, patterns);
        break;
      default:
        break;
    }
    open.push(...visitsBelow(node, bound));
  }
  const reads = { workflow: roots.has('workflow'), failure: roots.has('failure'), inputs: roots.has('inputs') };
  const nothing = !['workflow', 'failure', 'inputs', 'jobs', 'item', 'index'].some((name) => roots.has(name));
  return { faults, reads: { ...reads, nothing } };
}

/** A node, with the loop variables that are known there. */
interface Visit {
  readonly node: ASTNode;
  readonly bound: readonly string[];
}

/** The nodes below; a loop or `cel.bind` knows its variable in all but its first operands. */
function visitsBelow(node: ASTNode, bound: readonly string[]): Visit[] {
  if (node.op === 'rcall') {
    const [name, receiver, values] = node.args;
    const [variable, ...rest] = values;
    const binds = name === 'bind' && receiver.op === 'id' && receiver.args === 'cel';
    if (variable?.op === 'id' && (LOOPS.has(name) || binds)) {
      const inside = [...bound, variable.args];
      const value = binds ? rest.slice(0, 1) : [];
      const body = binds ? rest.slice(1) : rest;
      return [...[receiver, ...value].map((child) => ({ node: child, bound })), ...body.map((child) => ({ node: child, bound: inside }))];
    }
  }
  return childrenOf(node).map((child) => ({ node: child, bound }));
}

type Tell = (node: ASTNode, message: string, hint: string, rule?: Fault['rule']) => void;
type NodeOf<Op extends ASTNode['op']> = Extract<ASTNode, { op: Op }>;

/** `failure.eror`, `jobs.a.error.text`: fields of what may also be null. */
function checkField(node: NodeOf<'.'>, fault: Tell): void {
  const [left, field] = node.args;
  if (left.op === 'id' && left.args === 'failure' && !FAILURE_FIELDS.includes(field)) {
    fault(node, `failure has no '${field}'`, `it has ${FAILURE_FIELDS.join(', ')}`);
  }
  if (left.op !== '.' || left.args[1] !== 'error' || ERROR_FIELDS.includes(field)) return;
  const owner = left.args[0];
  const ofFailure = owner.op === 'id' && owner.args === 'failure';
  const ofJob = owner.op === '.' && owner.args[0].op === 'id' && owner.args[0].args === 'jobs';
  if (ofFailure || ofJob) fault(node, `an error has no '${field}'`, `it has ${ERROR_FIELDS.join(', ')}`);
}

function checkCall(node: NodeOf<'call'>, fault: Tell): void {
  const [name, values] = node.args;
  if (name === GUARD) fault(node, `no function '${name}'`, '', 'unknown-name');
  if (name !== 'has' || values.length !== 1) return;
  const asked = values[0];
  if (asked.op !== '.') return;
  const [owner] = asked.args;
  const isRoot = owner.op === 'id' && ['inputs', 'jobs', 'workflow', 'failure'].includes(owner.args);
  const isJob = owner.op === '.' && owner.args[0].op === 'id' && owner.args[0].args === 'jobs';
  if (isRoot || isJob) fault(node, 'has() is always true of this name', 'what is not set is null: compare with null instead');
}

function checkMethod(node: NodeOf<'rcall'>, fault: Tell, patterns: PatternCheck): void {
  const [name, , values] = node.args;
  if (name === 'json') fault(node, "no method 'json'", 'outputs and inputs are read as JSON already', 'unknown-name');
  const first = values[0];
  if (name !== REPLACED.matches || first?.op !== 'value' || typeof first.args !== 'string') return;
  const message = patterns.fault(first.args);
  if (message !== null) fault(first, `the pattern is not valid: ${message}`, '');
}

function childrenOf(node: ASTNode): readonly ASTNode[] {
  switch (node.op) {
    case 'value':
    case 'id':
      return [];
    case '.':
    case '.?':
      return [node.args[0]];
    case 'call':
      return node.args[1];
    case 'rcall':
      return [node.args[1], ...node.args[2]];
    case 'map':
      return node.args.flat();
    case '!_':
    case '-_':
      return [node.args];
    default:
      return node.args;
  }
}
