/**
 * What definitions cost to parse, check and compile: processor time and memory. Run it with
 * `node --conditions=workflow-orchestrator --expose-gc test/bench/definition.ts`.
 */
import { compile, type Graph } from '@workflow-orchestrator/engine/definition';

const ROUNDS = 7;

/** A thousand jobs as people write them: fan-in and fan-out, expressions, parameters, retries. */
function realistic(count: number): string {
  const lines = [
    'workflow:',
    '  name: nightly',
    '  version: "7"',
    '  inputs:',
    '    env: { type: string, default: prod, enum: [dev, prod] }',
    '    limit: { type: integer, default: 100, minimum: 1 }',
    '  timeout: 6h',
    '  defaults: { timeout: 5m, retry: { max_attempts: 3 } }',
    '  jobs:',
  ];
  for (let index = 0; index < count; index++) {
    const needs = [1, 7, 31].filter((back) => index >= back).map((back) => `step-${index - back}`);
    lines.push(`    - id: step-${index}`, '      type: processing');
    if (needs.length > 0) lines.push(`      needs: [${needs.join(', ')}]`);
    if (index % 4 === 0) lines.push(`      if: inputs.env == 'prod' && inputs.limit > ${index % 50}`);
    if (index % 10 === 3)
      lines.push('      timeouts: { run: 30s, heartbeat: 15s }', `      on_failure: step-${Math.min(count - 1, index + 9)}`);
    lines.push('      parameters:', '        operation: transform');
    if (index > 0) lines.push(`        data: \${{ jobs.step-${index - 1}.output.rows }}`);
    lines.push(`        label: "rows of \${{ inputs.env }}, part ${index}"`);
  }
  return `${lines.join('\n')}\n`;
}

/** As many jobs as fit: a chain with a fan-in now and then. */
function dense(count: number): string {
  const lines = ['workflow:', '  name: dense', '  jobs:'];
  for (let index = 0; index < count; index++) {
    const needs = index === 0 ? '' : `, needs: j${index - 1}`;
    const parameters = index > 100 && index % 20 === 0 ? `, parameters: {x: "\${{ jobs.j${index - 100}.output }}"}` : '';
    lines.push(`    - {id: j${index}, type: t${needs}${parameters}}`);
  }
  return `${lines.join('\n')}\n`;
}

function measure(name: string, source: string): void {
  const times: number[] = [];
  let kept: Graph | null = null;
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  for (let round = 0; round < ROUNDS; round++) {
    // Time of the processor, collecting garbage included: other programs on the machine do not count.
    const start = process.cpuUsage();
    const compiled = compile(source);
    times.push(process.cpuUsage(start).user / 1_000);
    if (compiled.kind === 'bad') throw new Error(JSON.stringify(compiled.problems.slice(0, 3)));
    kept = compiled.graph;
  }
  globalThis.gc?.();
  const heldMib = (process.memoryUsage().heapUsed - before) / 2 ** 20;
  const first = times[0];
  const median = times.toSorted((a, b) => a - b)[ROUNDS >> 1];
  const kib = (source.length / 1024).toFixed(0);
  const figures = `first ${first.toFixed(0)} ms of CPU, median ${median.toFixed(0)} ms, graph ${heldMib.toFixed(1)} MiB`;
  console.log(`${name.padEnd(24)} ${kept?.jobs.length} jobs, ${kib} KiB: ${figures}`);
}

measure('warm-up', realistic(100));
measure('realistic', realistic(1_000));
measure('dense', dense(10_000));
