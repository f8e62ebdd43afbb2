/**
 * From the text of a definition to its graph, or to everything that is wrong with it.
 *
 * Invariants
 * 1. Pure and total: the same text gives the same answer, and no text makes it throw.
 * 2. Every check runs on what the others could make of the text, so that all problems are told at once and each only once.
 */
import { checkReads, type JobRead } from './ancestry.ts';
import { hashDefinition } from './canonical.ts';
import { wire } from './edges.ts';
import type { ExpressionContext } from './expression/expression.ts';
import type { Graph, Problem } from './graph.ts';
import { assemble } from './graph-assembly.ts';
import { readInputs } from './inputs.ts';
import { compileJob, compileKey, compileOutputs } from './job-compiler.ts';
import { PatternCheck } from './pattern.ts';
import { Problems } from './problem.ts';
import { Suggestions } from './suggest.ts';
import { readWorkflow } from './workflow-file.ts';
import { parseYaml } from './yaml.ts';

/** A graph, or every problem of the text in the order of the file. */
export type Compiled = { readonly kind: 'ok'; readonly graph: Graph } | { readonly kind: 'bad'; readonly problems: readonly Problem[] };

/** Parses, checks and compiles the text of a definition. */
export function compile(source: string): Compiled {
  // A byte order mark is no character of the first line.
  const problems = new Problems(source.startsWith('\ufeff') ? source.slice(1) : source);
  try {
    const graph = compileInto(problems);
    if (graph !== null) return { kind: 'ok', graph };
    if (problems.count === 0) throw new Error('nothing was found to be wrong');
  } catch (error) {
    // A bug of ours must not take the caller down with it.
    problems.addText(0, 'internal', `the file could not be checked: ${(error as Error).message}`, 'please report this file');
  }
  return { kind: 'bad', problems: problems.list() };
}

/** Null when there is a problem. */
function compileInto(problems: Problems): Graph | null {
  const reading = { problems, suggestions: new Suggestions(), patterns: new PatternCheck() };
  const root = parseYaml(problems);
  const file = root === null ? null : readWorkflow(reading, root);
  if (root === null || file === null) return null;
  const inputs = readInputs(reading, file.inputs);
  const wiring = wire(reading, file.jobs);
  const context: ExpressionContext = {
    ...reading,
    names: { jobs: wiring.indexOf, inputs: inputs.indexOf, anyInput: file.inputsUnreadable },
    inputTypes: inputs.declared.map(({ type }) => type),
  };
  const reads: JobRead[] = [];
  const parts = file.jobs.map((job) => compileJob(context, inputs.declared, job, reads));
  const outputs = file.outputs === null ? null : compileOutputs(context, inputs.declared, file.outputs);
  const idempotencyKey = file.idempotencyKey === null ? null : compileKey(context, inputs.declared, file.idempotencyKey);
  checkReads(problems, file.jobs, wiring, reads);
  if (problems.count > 0) return null;
  return assemble({ file, inputs, wiring, parts, outputs, idempotencyKey, hash: hashDefinition(root) });
}
