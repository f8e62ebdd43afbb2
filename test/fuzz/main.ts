/**
 * The fuzzer from the command line: `npm run fuzz -- --target T --minutes M --seed S`, or `--replay FILE`.
 * It runs in a thread, so that an input that hangs is told and kept as well.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { ROOT } from '../repo/source.ts';
import { Campaign, type Figures, type Finding } from './campaign.ts';
import { bestCpuMs, cpuLimitMs, leastHeldBytes } from './measure.ts';
import { type TargetName, targetNames } from './target.ts';
import { openTarget } from './targets/open.ts';

const usage = `usage: npm run fuzz -- --target TARGET [--minutes M] [--seed S] [--inputs N]
       npm run fuzz -- --target TARGET --replay FILE

targets: ${targetNames.join(', ')}`;

/** An input that takes this much CPU hangs. The watchdog's own share and that of collections count too, so that it is far above what any input may take. */
const hangCpuMs = 30_000;
/** Bytes of the longest input that the watchdog keeps. */
const mostKept = 4 * 1024 * 1024;

interface Task {
  readonly target: TargetName;
  readonly minutes: number;
  readonly seed: number;
  readonly inputs: number;
  /** Where the input that runs is written: its number and its length, then its bytes. */
  readonly shared: SharedArrayBuffer;
}

type Message = { readonly kind: 'finding'; readonly finding: Finding } | { readonly kind: 'done'; readonly figures: Figures };

if (isMainThread) await runMain();
else await runThread(workerData as Task);

async function runMain(): Promise<void> {
  const { values } = parseArgs({
    options: {
      target: { type: 'string' },
      minutes: { type: 'string', default: '1' },
      seed: { type: 'string', default: '1' },
      inputs: { type: 'string', default: '0' },
      replay: { type: 'string' },
    },
  });
  const target = targetNames.find((name) => name === values.target);
  const [minutes, seed, inputs] = [Number(values.minutes), Number(values.seed), Number(values.inputs)];
  if (target === undefined || !(minutes > 0) || !Number.isInteger(seed) || !(inputs >= 0)) {
    console.error(usage);
    process.exitCode = 2;
    return;
  }
  if (values.replay !== undefined) return replay(target, values.replay);
  const task: Task = { target, minutes, seed, inputs, shared: new SharedArrayBuffer(16 + mostKept) };
  process.exitCode = await watch(task);
}

/** Runs one file alone, with all that is measured. */
async function replay(name: TargetName, path: string): Promise<void> {
  const input = new Uint8Array(readFileSync(path));
  const target = await openTarget(name);
  try {
    const { features, check } = await target.run(input);
    await check?.();
    const took = await bestCpuMs(() => target.run(input));
    const held = await leastHeldBytes(async () => (await target.run(input)).kept);
    console.log(`${input.length} bytes: ${took.toFixed(2)} ms of CPU (limit ${cpuLimitMs(input.length).toFixed(0)}), ${held} bytes held`);
    for (const feature of features) console.log(`  ${feature}`);
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  } finally {
    await target.close();
  }
}

/** Starts the thread and looks after it; gives the exit code. */
function watch(task: Task): Promise<number> {
  const head = new Int32Array(task.shared, 0, 4);
  const started = Date.now();
  return new Promise((resolve) => {
    const thread = new Worker(new URL(import.meta.url), { workerData: task, resourceLimits: { maxOldGenerationSizeMb: 2_048 } });
    let seen = -1;
    let cpuThen = processCpuMs();
    let found = 0;
    const end = (code: number) => {
      clearInterval(watchdog);
      void thread.terminate();
      resolve(code);
    };
    const lastInput = () => Buffer.from(new Uint8Array(task.shared, 16, head[1]));
    const watchdog = setInterval(() => {
      if (head[0] !== seen) {
        seen = head[0];
        cpuThen = processCpuMs();
      } else if (processCpuMs() - cpuThen > hangCpuMs) {
        tell(task, ++found, { kind: 'slow', message: `hangs: has taken ${hangCpuMs} ms of CPU`, input: lastInput() });
        end(1);
      }
    }, 500);
    thread.on('message', (message: Message) => {
      if (message.kind === 'finding') tell(task, ++found, message.finding);
      else {
        say(task, message.figures);
        end(message.figures.findings.length > 0 ? 1 : 0);
      }
    });
    thread.on('error', (error) => {
      tell(task, ++found, {
        kind: 'crash',
        message: `uncaught after ${Date.now() - started} ms: ${(error as Error).stack}`,
        input: lastInput(),
      });
      end(1);
    });
  });
}

/** CPU of all threads, in milliseconds. */
function processCpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

function tell(task: Task, number: number, { kind, message, input }: Finding): void {
  const folder = join(ROOT, '.data/fuzz');
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${task.target}-${task.seed}-${number}-${kind}`);
  writeFileSync(path, input);
  console.log(`\nFINDING ${kind} (${input.length} bytes): ${message}\n  replay: npm run fuzz -- --target ${task.target} --replay ${path}`);
}

function say({ target, seed }: Task, figures: Figures): void {
  const { inputs, seconds, worstCpuMs, worstCpuBytes, worstMemoryRatio, features, corpus, findings } = figures;
  console.log(
    `${target}, seed ${seed}: ${inputs} inputs in ${seconds.toFixed(0)} s (${(inputs / seconds).toFixed(0)}/s), ` +
      `worst CPU ${worstCpuMs.toFixed(1)} ms for ${worstCpuBytes} bytes, worst memory ratio ${worstMemoryRatio.toFixed(1)}, ` +
      `${features} features, corpus ${corpus}, ${findings.length} findings`,
  );
}

async function runThread(task: Task): Promise<void> {
  const head = new Int32Array(task.shared, 0, 4);
  const bytes = new Uint8Array(task.shared, 16);
  const target = await openTarget(task.target);
  const until = performance.now() + task.minutes * 60_000;
  const send = (message: Message) => parentPort?.postMessage(message);
  const figures = await new Campaign(target, {
    seed: task.seed,
    goesOn: (inputs) => (task.inputs > 0 ? inputs < task.inputs : performance.now() < until),
    cpuFactor: 1,
    begins: (input) => {
      bytes.set(input.subarray(0, mostKept));
      head[1] = Math.min(input.length, mostKept);
      Atomics.add(head, 0, 1);
    },
    found: (finding) => send({ kind: 'finding', finding }),
  }).run();
  await target.close();
  send({ kind: 'done', figures });
}
