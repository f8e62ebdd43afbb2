/** What the faces count: calls by face, method and code, how long unary calls took, and the streams that are open. */
import type { Code } from '@connectrpc/connect';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Face } from './call.ts';
import { codeName } from './errors.ts';

/** Counts the calls of one method through one face. */
export interface CallMeter {
  /** A call ended after `elapsedMs`; `code` is null when it ended well. */
  ended(code: Code | null, elapsedMs: number): void;
}

/** Meters of all methods. */
export interface ApiMetrics {
  meter(face: Face, method: string, streams: boolean): CallMeter;
  /** Streams that were opened (1) or closed (-1). */
  streams(change: 1 | -1): void;
}

/** Registers the metrics of the faces in `registry`. Looking a label set up costs more than counting, so children are kept. */
export function createApiMetrics(registry: Registry): ApiMetrics {
  const calls = new Counter({
    name: 'wf_api_calls_total',
    help: 'Calls that ended, by face, method and code.',
    labelNames: ['face', 'method', 'code'] as const,
    registers: [registry],
  });
  const seconds = new Histogram({
    name: 'wf_api_call_seconds',
    help: 'Duration of unary calls.',
    labelNames: ['face', 'method'] as const,
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5, 10],
    registers: [registry],
  });
  const open = new Gauge({ name: 'wf_api_open_streams', help: 'Server streams that are open.', registers: [registry] });

  return {
    meter(face, method, streams) {
      const byCode = new Map<Code | null, Counter.Internal>();
      const duration = streams ? null : seconds.labels(face, method);
      return {
        ended(code, elapsedMs) {
          let child = byCode.get(code);
          if (child === undefined) {
            child = calls.labels(face, method, code === null ? 'ok' : codeName(code));
            byCode.set(code, child);
          }
          child.inc();
          duration?.observe(elapsedMs / 1000);
        },
      };
    },
    streams: (change) => open.inc(change),
  };
}
