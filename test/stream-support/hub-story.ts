/**
 * The real hub and sessions with a clock that stands still until it is told, links that write down what happens, and a shard that only listens:
 * every step gives back what it led to, as lines.
 */
import type { LogLine } from '@workflow-orchestrator/proto';
import { type Connection, createHub, type Hub, type Link } from '../../coordinator/gateway/hub.ts';
import type { WorkerInbox, WorkerOutbox } from '../../coordinator/gateway/port.ts';
import { type StreamLimits, streamLimits } from '../../coordinator/gateway/session/limits.ts';
import { sayCoordinatorFrame, workerFrame } from './frames.ts';

type Body = Parameters<typeof workerFrame>[2];

/** One connection of a worker in the story. */
export class Peer {
  readonly name: string;
  readonly #story: HubStory;
  readonly connection: Connection;
  /** Last frame of the hub that came. */
  received = 0;
  #sent = 0;
  alarmAt: number | null = null;
  isAwake = false;

  constructor(name: string, story: HubStory, hub: Hub) {
    this.name = name;
    this.#story = story;
    const link: Link = {
      send: (frame) => {
        this.received = Number(frame.seq);
        story.write(`${name} < ${sayCoordinatorFrame(frame)}`);
      },
      close: (code, _reason, abrupt) => story.write(`${name} closed ${code}${abrupt ? ' abruptly' : ''}`),
      setAlarm: (at) => {
        this.alarmAt = at;
      },
      wake: () => {
        this.isAwake = true;
      },
    };
    this.connection = hub.connect(link);
  }

  /** Sends the next frame. */
  send(body: Body): string[] {
    this.#sent += 1;
    return this.sendNumbered(this.#sent, this.received, body);
  }

  /** Sends a frame with numbers of one's own. */
  sendNumbered(seq: number, ack: number, body: Body): string[] {
    return this.#story.do(() => this.connection.receive(workerFrame(seq, ack, body)));
  }

  sendUnreadable(): string[] {
    return this.#story.do(() => this.connection.receiveUnreadable('the bytes are no WorkerFrame'));
  }

  close(code = 1006): string[] {
    return this.#story.do(() => this.connection.closed(code));
  }

  flow(bufferedBytes: number, flushedBytes: number): string[] {
    return this.#story.do(() => this.connection.observeFlow(bufferedBytes, flushedBytes));
  }
}

/** One hub. */
export class HubStory {
  now = 1_000_000;
  readonly hub: Hub;
  /** What the shard calls, by worker id: the newest. */
  readonly outboxes = new Map<string, WorkerOutbox>();
  readonly notes: string[] = [];
  readonly lines: LogLine[] = [];
  readonly inbox: WorkerInbox;
  readonly #peers: Peer[] = [];
  #written: string[] = [];

  constructor(limits: Partial<StreamLimits> = {}) {
    let sessions = 0;
    this.inbox = this.#listen();
    this.hub = createHub({
      inbox: this.inbox,
      coordinatorId: 'c1',
      limits: streamLimits(limits),
      now: () => this.now,
      wallNow: () => this.now,
      newSessionId: () => {
        sessions += 1;
        return `s${sessions}`;
      },
      coordinatorUrls: () => [],
      onLogLines: (_workerId, lines) => this.lines.push(...lines),
      note: (_level, message) => this.notes.push(message),
    });
  }

  connect(name = `p${this.#peers.length + 1}`): Peer {
    const peer = new Peer(name, this, this.hub);
    this.#peers.push(peer);
    return peer;
  }

  /** A worker that was welcomed and has given credit. */
  ready(body: Body, granted = 4): Peer {
    const peer = this.connect();
    peer.send(body);
    const workerId = body.case === 'hello' ? (body.value.workerId ?? '') : '';
    this.shard(workerId, (outbox) => outbox.welcome([]));
    peer.send({ case: 'credit', value: { granted: BigInt(granted) } });
    return peer;
  }

  /** The shard says something to a worker. */
  shard(workerId: string, say: (outbox: WorkerOutbox) => void): string[] {
    return this.do(() => say(this.outboxes.get(workerId)!));
  }

  /** Lets time pass; alarms fire when they are due. */
  advance(ms: number): string[] {
    const until = this.now + ms;
    const before = this.#written;
    this.#written = [];
    for (;;) {
      const due = this.#peers.filter((peer) => peer.alarmAt !== null && peer.alarmAt <= until).sort((a, b) => a.alarmAt! - b.alarmAt!)[0];
      if (due === undefined) break;
      this.now = Math.max(this.now, due.alarmAt!);
      this.#tick(due);
    }
    this.now = until;
    const written = this.#written;
    this.#written = before;
    return written;
  }

  /** This process stands still; then all alarms that were due fire, late. */
  standStill(ms: number): string[] {
    this.now += ms;
    return this.do(() => {
      for (const peer of this.#peers) if (peer.alarmAt !== null && peer.alarmAt <= this.now) this.#tick(peer);
    });
  }

  /** Does something and gives back what it led to, up to the end of the turn. */
  do(step: () => void): string[] {
    this.#written = [];
    step();
    this.#flush();
    return this.#written;
  }

  write(line: string): void {
    this.#written.push(line);
  }

  #tick(peer: Peer): void {
    peer.alarmAt = null;
    peer.connection.tick();
    this.#flush();
  }

  #flush(): void {
    for (const peer of this.#peers) {
      if (!peer.isAwake) continue;
      peer.isAwake = false;
      peer.connection.flush();
    }
  }

  #listen(): WorkerInbox {
    const say = (text: string) => this.write(`shard ${text}`);
    return {
      attach: (worker, outbox) => {
        this.outboxes.set(worker.workerId, outbox);
        say(['attach', worker.workerId, worker.sessionId, ...worker.inFlight.map(({ leaseToken }) => leaseToken)].join(' '));
      },
      capacity: (workerId, _sessionId, available, open) => say(`capacity ${workerId} ${available} ${open ? 'open' : 'shut'}`),
      replies: (workerId, _sessionId, replies) =>
        say(
          `replies ${workerId} ${replies.map(({ leaseToken, accepted, reason }) => `${leaseToken}:${accepted ? 'yes' : `no (${reason})`}`).join(' ')}`,
        ),
      beats: (workerId, _sessionId, beats, whole) => {
        const tokens = beats.map(({ leaseToken, checkpoint }) => `${leaseToken}${checkpoint ? '*' : ''}`);
        say([whole ? 'beats' : 'some beats', workerId, ...tokens].join(' '));
      },
      results: (workerId, _sessionId, results) =>
        say(
          `results ${workerId} ${results.map(({ leaseToken, outcome }) => `${leaseToken}:${outcome.case === 'error' ? outcome.value.code : outcome.case}`).join(' ')}`,
        ),
      detach: (workerId, sessionId) => say(`detach ${workerId} ${sessionId}`),
      lost: (workerId, sessionId, reason) => say(`lost ${workerId} ${sessionId}: ${reason}`),
    };
  }
}
