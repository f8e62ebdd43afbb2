/**
 * Faults that a worker could have, planted between a right worker and the kit: what goes either way can be dropped, changed or said twice.
 * Each names the duties that it breaks; the kit is tested by finding them.
 */
import type { CoordinatorFrame, WorkerFrame } from '@workflow-orchestrator/proto';

/** One connection, as a fault sees it. */
export interface Wire {
  /** Of the connections of this process, from 1. */
  readonly number: number;
  /** Puts a frame, or a text message, on its way to the kit besides those that pass. */
  toKit(body: WorkerFrame['body']): void;
  text(words: string): void;
  /** Closes towards the kit. */
  close(code: number): void;
}

/** A fault. A hook may change the frame, and says whether it is dropped. */
export interface Fault {
  /** The duties that it breaks, and that must fail. */
  readonly breaks: readonly string[];
  /** The script in which it shows. */
  readonly script: string;
  readonly fromWorker?: (frame: WorkerFrame, wire: Wire) => 'drop' | undefined;
  readonly fromKit?: (frame: CoordinatorFrame, wire: Wire) => 'drop' | undefined;
  /** The hooks see the numbers as the kit will, and may spoil them. */
  readonly spoilsNumbers?: boolean;
  /** What the program says when it asks for the stream. */
  readonly subprotocol?: string;
  /** Does not connect a second time. */
  readonly connectsOnce?: boolean;
  /** Asks again at once when it is refused. */
  readonly isImpatient?: boolean;
  /** Answers the worker itself when the kit is silent. */
  readonly hidesSilence?: boolean;
  /** Code with which connections are closed, whatever the worker said. */
  readonly closeCode?: number;
  readonly exitCode?: number;
}

/** Tokens whose results were seen. */
const seen = new Set<string>();
/** How often a token was assigned. */
const times = new Map<string, number>();

/** Every fault by its name. */
export const faults: Readonly<Record<string, Fault>> = {
  none: { breaks: [], script: 'jobs' },
  'sends text': {
    breaks: ['W2'],
    script: 'idle-end',
    fromWorker({ body }, wire) {
      if (body.case === 'credit') wire.text('ready!');
      return undefined;
    },
  },
  'ends a large frame with 1002': { breaks: ['W10'], script: 'too-large', closeCode: 1002 },
  'no subprotocol': { breaks: ['W1'], script: 'jobs', subprotocol: 'chat' },
  'does not send results again': {
    breaks: ['W31'],
    script: 'lost-ack',
    fromWorker({ body }) {
      if (body.case !== 'results') return undefined;
      body.value.results = body.value.results.filter(({ leaseToken }) => !seen.has(leaseToken));
      for (const { leaseToken } of body.value.results) seen.add(leaseToken);
      return body.value.results.length > 0 ? undefined : 'drop';
    },
  },
  'sends results twice': {
    breaks: ['W31'],
    script: 'jobs',
    fromWorker({ body }, wire) {
      if (body.case === 'results') wire.toKit(body);
      return undefined;
    },
  },
  'sends results for ever': {
    breaks: ['W12', 'W33'],
    script: 'ack-verdicts',
    fromKit({ body }) {
      return body.case === 'resultAcks' ? 'drop' : undefined;
    },
  },
  'runs a doubled assignment twice': {
    breaks: ['W20'],
    script: 'doubled-assignment',
    fromKit({ body }) {
      for (const assignment of body.case === 'assignments' ? body.value.assignments : []) {
        const count = (times.get(assignment.leaseToken) ?? 0) + 1;
        times.set(assignment.leaseToken, count);
        if (count > 1) assignment.leaseToken += `~${count}`;
      }
      return undefined;
    },
    fromWorker(frame) {
      for (const named of namedIn(frame)) named.leaseToken = named.leaseToken.replace(/~\d+$/, '');
      return undefined;
    },
  },
  'grants more than it has': {
    breaks: ['W17'],
    script: 'jobs',
    fromWorker({ body }) {
      if (body.case === 'credit') body.value.granted += 3n;
      return undefined;
    },
  },
  'grants less and less': {
    breaks: ['W17'],
    script: 'jobs',
    fromWorker({ body }, wire) {
      if (body.case === 'credit' && body.value.granted > 5n) wire.toKit({ case: 'credit', value: { ...body.value, granted: 1n } });
      return undefined;
    },
  },
  'ignores cancel': {
    breaks: ['W37'],
    script: 'cancel',
    fromKit({ body }) {
      if (body.case === 'heartbeatReply') body.value.cancel = [];
      return body.case === 'cancel' ? 'drop' : undefined;
    },
  },
  'forgets in_flight': {
    breaks: ['W12'],
    script: 'lost-ack',
    fromWorker({ body }) {
      if (body.case === 'hello') body.value.inFlight = [];
      return undefined;
    },
  },
  'ignores lost leases': {
    breaks: ['W25', 'W27'],
    script: 'stale-lease',
    fromKit({ body }) {
      if (body.case === 'heartbeatReply') body.value.lost = [];
      return undefined;
    },
  },
  'ignores verdicts': {
    breaks: ['W15', 'W27'],
    script: 'stale-lease',
    fromKit({ body }) {
      if (body.case === 'welcome') body.value.verdicts = [];
      if (body.case === 'heartbeatReply') body.value.lost = [];
      return undefined;
    },
  },
  'beats every two seconds': {
    breaks: ['W24'],
    script: 'checkpoint',
    fromKit({ body }) {
      if (body.case === 'welcome') body.value.heartbeatIntervalMs = 2_000;
      return undefined;
    },
  },
  'names nothing in heartbeats': {
    breaks: ['W25'],
    script: 'slots',
    fromWorker({ body }) {
      if (body.case === 'heartbeat') body.value.leases = [];
      return undefined;
    },
  },
  'notices no silence': { breaks: ['W28'], script: 'half-open', hidesSilence: true },
  'does not come back': { breaks: ['W29'], script: 'lost-ack', connectsOnce: true },
  'ignores GoAway': {
    breaks: ['W40'],
    script: 'go-away',
    fromKit({ body }) {
      return body.case === 'goAway' ? 'drop' : undefined;
    },
  },
  'moves too early': {
    breaks: ['W40'],
    script: 'go-away',
    fromKit({ body }) {
      if (body.case === 'goAway') body.value.reconnectDelayMs = 0;
      return undefined;
    },
  },
  'says no Drain': {
    breaks: ['W38'],
    script: 'terminate',
    fromWorker({ body }) {
      return body.case === 'drain' ? 'drop' : undefined;
    },
  },
  'ends with 3': { breaks: ['W38'], script: 'idle-end', exitCode: 3 },
  'closes with 1001 at the end': { breaks: ['W38'], script: 'idle-end', closeCode: 1001 },
  'ignores a Drain of the coordinator': {
    breaks: ['W39'],
    script: 'drain',
    fromKit({ body }) {
      return body.case === 'drain' ? 'drop' : undefined;
    },
  },
  'numbers with gaps': {
    breaks: ['W4'],
    script: 'jobs',
    spoilsNumbers: true,
    fromWorker(frame) {
      if (frame.seq > 3n) frame.seq += 1n;
      return undefined;
    },
  },
  'acks nothing': {
    breaks: ['W5'],
    script: 'slots',
    spoilsNumbers: true,
    fromWorker(frame) {
      if (frame.ack > 1n) frame.ack = 1n;
      return undefined;
    },
  },
  // The number is made right on its way, see faulty-worker.ts.
  'handles a doubled frame': { breaks: ['W6'], script: 'nonsense' },
  'ends on nonsense': {
    breaks: ['W8'],
    script: 'nonsense',
    fromWorker({ body }, wire) {
      if (body.case === 'error') wire.close(1002);
      return undefined;
    },
  },
  'says nothing to nonsense': {
    breaks: ['W8', 'W9'],
    script: 'nonsense',
    fromWorker({ body }) {
      return body.case === 'error' ? 'drop' : undefined;
    },
  },
  'goes on over a gap': { breaks: ['W7'], script: 'gap' },
  'talks before Welcome': {
    breaks: ['W13'],
    script: 'jobs',
    fromWorker({ body }, wire) {
      if (body.case === 'hello') {
        setImmediate(() => wire.toKit({ case: 'credit', value: { $typeName: 'workflow.v1.Credit', granted: 0n } }));
      }
      return undefined;
    },
  },
  'is another process each time': {
    breaks: ['W11'],
    script: 'lost-ack',
    fromWorker({ body }, wire) {
      if (body.case === 'hello') body.value.instanceId += wire.number;
      return undefined;
    },
  },
  'answers nothing': {
    breaks: ['W19', 'W23'],
    script: 'slots',
    fromWorker({ body }) {
      return body.case === 'assignReplies' ? 'drop' : undefined;
    },
  },
  'answers after the result': {
    breaks: ['W23'],
    script: 'jobs',
    fromWorker({ body }, wire) {
      if (body.case !== 'assignReplies') return undefined;
      setTimeout(() => wire.toKit(body), 100);
      return 'drop';
    },
  },
  'runs out of slots': {
    breaks: ['W18'],
    script: 'slots',
    fromWorker({ body }) {
      if (body.case === 'credit') body.value.granted += 4n;
      for (const reply of body.case === 'assignReplies' ? body.value.replies : []) reply.accepted = true;
      return undefined;
    },
  },
  'loses an attempt': {
    breaks: ['W16'],
    script: 'jobs',
    fromWorker({ body }) {
      if (body.case === 'results') body.value.results = body.value.results.filter(({ leaseToken }) => leaseToken !== 't2');
      return undefined;
    },
  },
  'mixes up inputs': {
    breaks: ['W21'],
    script: 'input',
    fromKit({ body }) {
      for (const assignment of body.case === 'assignments' ? body.value.assignments : []) assignment.inputs = assignment.inputs.slice(0, 1);
      return undefined;
    },
  },
  'knows no time limit': {
    breaks: ['W22'],
    script: 'timeout',
    fromKit({ body }) {
      for (const assignment of body.case === 'assignments' ? body.value.assignments : []) assignment.runTimeoutMs *= 6n;
      return undefined;
    },
  },
  'forgets checkpoints': {
    breaks: ['W26'],
    script: 'checkpoint',
    fromWorker({ body }, wire) {
      for (const beat of body.case === 'heartbeat' && wire.number > 1 ? body.value.leases : []) delete beat.checkpoint;
      return undefined;
    },
  },
  'names another job': {
    breaks: ['W34'],
    script: 'jobs',
    fromWorker({ body }) {
      for (const result of body.case === 'results' ? body.value.results : []) result.jobId = 'job';
      return undefined;
    },
  },
  'changes its mind': {
    breaks: ['W34'],
    script: 'lost-ack',
    fromWorker({ body }, wire) {
      for (const result of body.case === 'results' && wire.number > 1 ? body.value.results : []) {
        result.outcome = { case: 'cancelled', value: { $typeName: 'workflow.v1.Result.Cancelled' } };
      }
      return undefined;
    },
  },
  'sends messages uncut': {
    breaks: ['W35'],
    script: 'limits',
    fromWorker({ body }) {
      for (const { outcome } of body.case === 'results' ? body.value.results : [])
        if (outcome.case === 'error') outcome.value.message = 'x'.repeat(6_000);
      return undefined;
    },
  },
  'loses the code of a failure': {
    breaks: ['W36'],
    script: 'jobs',
    fromWorker({ body }) {
      for (const { outcome } of body.case === 'results' ? body.value.results : [])
        if (outcome.case === 'error') outcome.value.code = 'ERROR';
      return undefined;
    },
  },
  'sends one frame for all': {
    breaks: ['W3'],
    script: 'limits',
    fromKit({ body }) {
      if (body.case === 'welcome') body.value.maxFrameBytes = 1024 * 1024;
      return undefined;
    },
  },
  'writes long lines': {
    breaks: ['W41'],
    script: 'jobs',
    fromWorker({ body }) {
      for (const line of body.case === 'logLines' ? body.value.lines : []) line.message = 'x'.repeat(9_000);
      return undefined;
    },
  },
  'is impatient': {
    breaks: ['W30'],
    script: 'refused',
    isImpatient: true,
  },
};

/** Everything in a frame of the worker that names a token. */
function namedIn({ body }: WorkerFrame): { leaseToken: string }[] {
  switch (body.case) {
    case 'hello':
      return body.value.inFlight;
    case 'assignReplies':
      return body.value.replies;
    case 'heartbeat':
      return body.value.leases;
    case 'results':
      return body.value.results;
    case 'logLines':
      return body.value.lines;
    default:
      return [];
  }
}
