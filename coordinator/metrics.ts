/** Metrics of the shard and the worker stream, in the words of Prometheus. Children are kept, for finding one by labels costs more than counting. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Gateway, GatewayMetrics } from './gateway/gateway.ts';
import type { ShardObserver } from './shard/ports.ts';
import type { ShardClient } from './shard/seat.ts';
import type { TierHealth } from './store/store.ts';

const DURATION_BUCKETS_SECONDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 600, 3600];

/** Counts what a shard does. */
export function shardMetrics(registry: Registry): ShardObserver {
  const registers = [registry];
  const submitted = new Counter({ name: 'wf_workflows_submitted_total', help: 'Workflows accepted', registers });
  const ended = new Counter({ name: 'wf_workflows_ended_total', help: 'Workflows ended, by status', labelNames: ['status'], registers });
  const duration = new Histogram({
    name: 'wf_workflow_duration_seconds',
    help: 'From submit to end',
    buckets: DURATION_BUCKETS_SECONDS,
    registers,
  });
  const jobs = new Counter({
    name: 'wf_jobs_ended_total',
    help: 'Jobs ended, by type and status',
    labelNames: ['type', 'status'],
    registers,
  });
  const failed = new Counter({
    name: 'wf_attempts_failed_total',
    help: 'Attempts failed, by type and code',
    labelNames: ['type', 'code'],
    registers,
  });
  const waited = new Histogram({
    name: 'wf_job_wait_seconds',
    help: 'From READY to the choice of a worker',
    buckets: DURATION_BUCKETS_SECONDS,
    registers,
  });
  const refused = new Counter({
    name: 'wf_results_refused_total',
    help: 'Results that did not count, by verdict',
    labelNames: ['verdict'],
    registers,
  });
  const commits = new Counter({ name: 'wf_commits_total', help: 'Commits', registers });
  const events = new Counter({ name: 'wf_committed_events_total', help: 'Events committed', registers });
  const troubles = new Counter({ name: 'wf_commits_troubled_total', help: 'Commits that did not succeed at once', registers });
  const endedBy = kept((status) => ended.labels(status));
  const jobsBy = kept((key) => jobs.labels(...(key.split('\0') as [string, string])));
  return {
    workflowSubmitted: () => submitted.inc(),
    workflowEnded(status, durationMs) {
      endedBy(status).inc();
      duration.observe(durationMs / 1_000);
    },
    jobEnded: (type, phase) => jobsBy(`${type}\0${phase}`).inc(),
    attemptFailed: (type, code) => failed.labels(type, code).inc(),
    jobAssigned: (_type, waitedMs) => waited.observe(waitedMs / 1_000),
    resultRefused: (verdict) => refused.labels(verdict).inc(),
    trouble(message) {
      if (message !== null) troubles.inc();
    },
    committed(count) {
      commits.inc();
      events.inc(count);
    },
  };
}

/** Counts what the worker stream does. */
export function gatewayMetrics(registry: Registry): GatewayMetrics {
  const registers = [registry];
  const received = new Counter({ name: 'wf_frames_received_total', help: 'Frames from workers, by kind', labelNames: ['kind'], registers });
  const sent = new Counter({ name: 'wf_frames_sent_total', help: 'Frames to workers, by kind', labelNames: ['kind'], registers });
  const bytes = new Counter({ name: 'wf_frame_bytes_total', help: 'Bytes of frames, by direction', labelNames: ['direction'], registers });
  const opened = new Counter({ name: 'wf_worker_connections_opened_total', help: 'Worker connections taken', registers });
  const closed = new Counter({
    name: 'wf_worker_connections_closed_total',
    help: 'Worker connections closed, by code',
    labelNames: ['code'],
    registers,
  });
  const refused = new Counter({
    name: 'wf_worker_handshakes_refused_total',
    help: 'Handshakes refused, by HTTP status',
    labelNames: ['status'],
    registers,
  });
  const receivedBy = kept((kind) => received.labels(kind));
  const sentBy = kept((kind) => sent.labels(kind));
  const bytesIn = bytes.labels('in');
  const bytesOut = bytes.labels('out');
  return {
    frameReceived(kind, size) {
      receivedBy(kind).inc();
      bytesIn.inc(size);
    },
    frameSent(kind, size) {
      sentBy(kind).inc();
      bytesOut.inc(size);
    },
    connectionOpened: () => opened.inc(),
    connectionClosed: (code) => closed.labels(String(code)).inc(),
    handshakeRefused: (status) => refused.labels(String(status)).inc(),
  };
}

/** Gauges that are read when somebody asks. */
export function registerGauges(registry: Registry, shard: Pick<ShardClient, 'stats'>, gateway: Pick<Gateway, 'workers'>): void {
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  };
  gauge('wf_workflows_open', 'Workflows that have not ended', () => shard.stats().openWorkflows);
  gauge('wf_jobs_ready', 'Jobs that wait for a worker', () => shard.stats().readyJobs);
  gauge('wf_jobs_running', 'Jobs that run', () => shard.stats().runningJobs);
  gauge('wf_inbox_commands', 'Commands that wait for the shard', () => shard.stats().inbox);
  gauge('wf_workflows_unarchived', 'Ended workflows that the archive has yet to take', () => shard.stats().unarchived);
  gauge('wf_uncommitted_events', 'Events that wait for their commit', () => shard.stats().uncommittedEvents);
  gauge(
    'wf_workers_connected',
    'Workers that are connected',
    () => gateway.workers().filter(({ status }) => status !== 'DISCONNECTED').length,
  );
}

/** How the tiers of storage are: 1 as they should be, 0.5 degraded, 0 down. */
export function registerTiers(registry: Registry, tiers: () => readonly TierHealth[]): void {
  new Gauge({
    name: 'wf_store_health',
    help: 'Tiers of storage: 1 as they should be, 0.5 degraded, 0 down',
    labelNames: ['tier'],
    registers: [registry],
    collect() {
      for (const { name, health } of tiers()) this.set({ tier: name }, health === 'OK' ? 1 : health === 'DEGRADED' ? 0.5 : 0);
    },
  });
}

function kept<T>(make: (key: string) => T): (key: string) => T {
  const children = new Map<string, T>();
  return (key) => {
    let child = children.get(key);
    if (child === undefined) {
      child = make(key);
      children.set(key, child);
    }
    return child;
  };
}
