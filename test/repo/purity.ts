/**
 * What code below the shell may not do: read a clock, draw a number, wait, or touch the world. Time, chance and identity come in as arguments.
 */
import type { Node } from 'acorn';
import { lineOf, type Source, type Violation, walk } from './source.ts';

/** Where it holds: a folder, or the beginning of a file name. */
export interface PurePlace {
  readonly place: string;
  /** Modules of Node that are allowed, with the names that may be taken from them. */
  readonly node: Readonly<Record<string, readonly string[]>>;
  /** Whether functions may wait for a port. */
  readonly async: boolean;
}

/** All pure places. */
export const PURE: readonly PurePlace[] = [
  { place: 'coordinator/engine/machine/', node: {}, async: false },
  { place: 'coordinator/engine/definition/', node: { 'node:crypto': ['createHash', 'hash'] }, async: false },
  { place: 'coordinator/shard/', node: {}, async: true },
  { place: 'coordinator/terms.ts', node: {}, async: true },
  { place: 'coordinator/gateway/session', node: {}, async: false },
  { place: 'coordinator/gateway/hub.ts', node: {}, async: false },
  { place: 'coordinator/gateway/worker-info.ts', node: {}, async: false },
  { place: 'worker/session/', node: {}, async: false },
  { place: 'proto/', node: {}, async: false },
];

const CLOCK = 'reads a clock: take the time as an argument';
const CHANCE = 'draws by chance: take the number as an argument';
const TIMER = 'waits: let the shell wake it up';
const WORLD = 'touches the world: go through a port';
/** Names that exist everywhere, and what is wrong with them here. */
const BANNED_NAMES: Readonly<Record<string, string>> = {
  performance: CLOCK,
  crypto: CHANCE,
  setTimeout: TIMER,
  setInterval: TIMER,
  setImmediate: TIMER,
  queueMicrotask: TIMER,
  process: WORLD,
  console: WORLD,
  fetch: WORLD,
  WebSocket: WORLD,
  globalThis: WORLD,
  eval: WORLD,
  Function: WORLD,
};
const BANNED_CALLS: Readonly<Record<string, string>> = { 'Date.now': CLOCK, 'Math.random': CHANCE };

/** What is impure in one file; nothing when it stands outside of the pure places. */
export function checkPurity(source: Source): Violation[] {
  const rule = PURE.find(({ place }) => source.path.startsWith(place));
  if (rule === undefined) return [];
  const found: Violation[] = [];
  const report = (line: number, what: string): void => {
    found.push({ path: source.path, line, rule: what });
  };
  for (const { specifier, line, names } of source.imports) {
    if (!specifier.startsWith('node:')) continue;
    const allowed = rule.node[specifier];
    if (allowed === undefined) report(line, `imports ${specifier}: ${WORLD}`);
    else
      for (const name of names)
        if (!allowed.includes(name)) report(line, `imports ${name} from ${specifier}: only ${allowed.join(', ')} is allowed here`);
  }
  const own = declaredNames(source);
  walk(source.tree, (node, ancestors) => {
    const fault = faultOf(node, ancestors, own);
    if (fault !== null) report(lineOf(node), fault);
    if (!rule.async && (node.type === 'AwaitExpression' || (isFunction(node) && (node as Node & { async: boolean }).async))) {
      report(lineOf(node), 'waits: what is pure answers at once');
    }
  });
  return found;
}

function faultOf(node: Node, ancestors: readonly Node[], own: ReadonlySet<string>): string | null {
  const n = node as Node & Record<string, unknown>;
  const parent = ancestors.at(-1) as (Node & Record<string, unknown>) | undefined;
  if (n.type === 'MemberExpression') {
    const path = `${nameOf(n.object)}.${nameOf(n.property)}`;
    return path in BANNED_CALLS && !own.has(nameOf(n.object)) ? `${path} ${BANNED_CALLS[path]}` : null;
  }
  if ((n.type === 'NewExpression' || n.type === 'CallExpression') && nameOf(n.callee) === 'Date') {
    // `new Date(ms)` only gives a number another form.
    return n.type === 'NewExpression' && (n.arguments as unknown[]).length > 0 ? null : `Date() ${CLOCK}`;
  }
  if (n.type !== 'Identifier' || own.has(n.name as string) || !Object.hasOwn(BANNED_NAMES, n.name as string)) return null;
  const isKey =
    (parent?.type === 'Property' || parent?.type === 'PropertyDefinition' || parent?.type === 'MethodDefinition') &&
    parent.key === node &&
    !parent.computed;
  const isMember = parent?.type === 'MemberExpression' && parent.property === node && !parent.computed;
  return isKey || isMember ? null : `${n.name} ${BANNED_NAMES[n.name as string]}`;
}

/** The names that a file declares itself, as a parameter, a variable, a function or an import: those are not the global ones. */
function declaredNames(source: Source): Set<string> {
  const names = new Set<string>();
  const declare = (pattern: unknown): void => {
    if (typeof pattern !== 'object' || pattern === null) return;
    walk(pattern as Node, (node) => {
      if (node.type === 'Identifier') names.add((node as Node & { name: string }).name);
    });
  };
  walk(source.tree, (node) => {
    const n = node as Node & Record<string, unknown>;
    if (n.type === 'VariableDeclarator' || n.type === 'ClassDeclaration') declare(n.id);
    if (n.type === 'ImportSpecifier' || n.type === 'ImportDefaultSpecifier' || n.type === 'ImportNamespaceSpecifier') declare(n.local);
    if (isFunction(node)) {
      declare(n.id);
      for (const parameter of n.params as unknown[]) declare(parameter);
    }
  });
  return names;
}

function isFunction(node: Node): boolean {
  return node.type === 'FunctionDeclaration' || node.type === 'FunctionExpression' || node.type === 'ArrowFunctionExpression';
}

function nameOf(node: unknown): string {
  const { name } = node as { name?: unknown };
  return typeof name === 'string' ? name : '';
}
