/**
 * The commands of stories. Times in a story count from its beginning.
 *
 *   workflow [timeout=1h] [cleanup_timeout=5m]     begins: the lines after it are the graph (`a.ok->b, a.fail->c`) and settings (`a: max_attempts=3`)
 *   submit | start | pause | resume | cancel [force] [reason]
 *   assign JOB [WORKER] | accept JOB | reject JOB [reason] | lost JOB
 *   beat JOB [idle=5s] [progress=0.5] [checkpoint=JSON] [words]
 *   succeed JOB [output=JSON] | fail JOB CODE [permanent] [retry_after=5s] | cancelled JOB | released JOB
 *   reattach JOB WORKER attempt=1 running=5s       after `recover`: the worker holds the attempt since then
 *   wait 5s                                        the clock moves, nobody does anything
 *   tick [5s]                                      the clock moves, by default to the next timer, and the engine is told
 *   recover                                        the coordinator dies and another reads the journal
 *   show                                           prints every job
 * Commands about an attempt take `token=t1` to speak for another attempt than the one that holds the lease.
 */
import type { GraphJob, Json, Payload } from '@workflow-orchestrator/engine/definition';
import type { Decision, WorkflowEvent } from '@workflow-orchestrator/engine/machine';
import { nextWake } from '@workflow-orchestrator/engine/machine';
import { CheckedRun } from './checked-run.ts';
import { graphOf, json } from './graphs.ts';
import { jobError, type Run, workerId } from './run.ts';
import { eventLine, jobLine, standingLine } from './story-output.ts';
import { durationMs, jobSettings, readWords, type Words } from './story-words.ts';

/** Plays the commands of one story. */
export class Narrator {
  #run: Run | null = null;
  #durableEvents = 0;
  /** The last token of each job, for commands that come after its lease is gone. */
  readonly #tokens = new Map<number, string>();

  /** The `workflow` block: the first word line, then graph and settings. */
  begin(lines: readonly string[]): string[] {
    const { options } = readWords(lines[0]);
    const settings = lines.slice(1).filter((line) => line.includes(': '));
    const shape = lines.slice(1).filter((line) => !line.includes(': '));
    const jobs: Record<string, Partial<GraphJob>> = {};
    const bare = graphOf(shape.join(', '));
    for (const line of settings) {
      const [id, words] = line.split(': ');
      const job = bare.jobs[bare.indexOf.get(id) ?? -1];
      if (job === undefined) throw new Error(`no job '${id}' in '${line}'`);
      jobs[id] = jobSettings(job, words);
    }
    const graph = graphOf(shape.join(', '), {
      jobs,
      timeoutMs: options.has('timeout') ? durationMs(options.get('timeout')) : null,
      cleanupTimeoutMs: durationMs(options.get('cleanup_timeout') ?? '5m'),
    });
    this.#run = new CheckedRun(graph, 'story');
    return [];
  }

  /** One command; returns what it prints. */
  perform(line: string): string[] {
    const words = readWords(line);
    switch (words.verb) {
      case 'wait':
        this.#story.now += durationMs(words.at(0));
        return [];
      case 'recover':
        this.#story.recover();
        return [];
      case 'show':
        return this.#story.state.jobs.map((_, index) => jobLine(this.#story.state, index, this.#story.now));
      case 'submit':
        return this.#tell(this.#story.submit());
      case 'start':
      case 'pause':
      case 'resume':
        return this.#tell(this.#story.send({ kind: words.verb }));
      case 'cancel': {
        const force = words.positional[0] === 'force';
        return this.#tell(this.#story.send({ kind: 'cancel', force, reason: words.text(force ? 1 : 0) }));
      }
      case 'tick': {
        const run = this.#story;
        run.now = words.positional.length > 0 ? run.now + durationMs(words.at(0)) : (nextWake(run.state) ?? run.now);
        return this.#tell(run.send({ kind: 'tick' }));
      }
      default:
        return this.#tell(this.#attempt(words));
    }
  }

  /** Where the workflow stands: printed after every block. */
  standing(): string[] {
    const run = this.#story;
    return run.current === null ? [] : [standingLine(run.current, run.now)];
  }

  #attempt(words: Words): Decision {
    const run = this.#story;
    const id = words.at(0);
    const job = run.graph.indexOf.get(id);
    if (job === undefined) throw new Error(`no job '${id}' in '${words.line}'`);
    if (words.verb === 'assign') {
      const decision = run.assign(job, words.positional[1] ?? workerId);
      const lease = run.state.jobs[job].lease;
      if (decision.kind === 'events' && lease !== null) this.#tokens.set(job, lease.token);
      return decision;
    }
    const { lease } = run.state.jobs[job];
    const token = words.options.get('token') ?? lease?.token ?? this.#tokens.get(job) ?? 'none';
    const attempt = Number(words.options.get('attempt') ?? lease?.attempt ?? run.state.jobs[job].attempts.length + 1);
    const runningMs = durationMs(words.options.get('running') ?? '0s');
    switch (words.verb) {
      case 'accept':
        return run.send({ kind: 'accept', job, token });
      case 'reject':
        return run.send({ kind: 'release', job, token, reason: words.text(1) });
      case 'lost':
        return run.send({ kind: 'workerLost', job, token, message: words.text(1) || 'the worker is gone' });
      case 'reattach': {
        const fencingToken = Number(token.slice(1));
        return run.send({ kind: 'reattach', job, token, attempt, workerId: words.at(1), runningMs, fencingToken });
      }
      case 'beat': {
        const { options } = words;
        const progress = options.has('progress') ? Number(options.get('progress')) : null;
        const checkpoint = options.has('checkpoint') ? payload(options.get('checkpoint') ?? '') : null;
        const idleMs = durationMs(options.get('idle') ?? '0s');
        return run.send({ kind: 'beat', job, token, idleMs, progress, progressMessage: words.text(1), checkpoint });
      }
      case 'succeed': {
        const output = payload(words.options.get('output') ?? '{}');
        return run.send({ kind: 'result', job, token, attempt, workerId, runningMs, outcome: { kind: 'succeeded', output } });
      }
      case 'fail': {
        const retryAfterMs = durationMs(words.options.get('retry_after') ?? '0s');
        const error = jobError(words.at(1), { retryable: words.positional[2] !== 'permanent', retryAfterMs });
        return run.send({ kind: 'result', job, token, attempt, workerId, runningMs, outcome: { kind: 'failed', error } });
      }
      case 'cancelled':
      case 'released':
        return run.send({ kind: 'result', job, token, attempt, workerId, runningMs, outcome: { kind: words.verb } });
      default:
        throw new Error(`no command '${words.verb}' in '${words.line}'`);
    }
  }

  #tell(decision: Decision): string[] {
    if (decision.kind === 'ignored') return [`ignored, ${decision.reason}: ${decision.message}`];
    return decision.events.map((event) => this.#line(event));
  }

  #line(event: WorkflowEvent): string {
    if (!event.kind.startsWith('attempt')) this.#durableEvents++;
    return eventLine(this.#story.graph, event, this.#durableEvents);
  }

  get #story(): Run {
    if (this.#run === null) throw new Error('a story begins with `workflow`');
    return this.#run;
  }
}

function payload(text: string): Payload {
  return json(JSON.parse(text) as Json);
}
