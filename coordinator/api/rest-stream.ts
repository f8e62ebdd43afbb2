/**
 * Server streams over plain HTTP: Server-Sent Events, or JSON lines for those who ask for them.
 *
 * Invariants
 * 1. A stream that fails before its first item is an ordinary HTTP error; after it, the failure is the last thing that is said.
 * 2. The next item is asked for only when the socket has taken the last one.
 * 3. A silent event stream says something every 15 s, so that whoever stands between does not close it.
 */
import type { JsonValue } from '@bufbuild/protobuf';
import { ConnectError } from '@connectrpc/connect';
import type { Call } from './call.ts';
import { errorJson } from './errors.ts';

/** How a stream is written. */
export interface StreamForm {
  readonly contentType: string;
  /** One item; `id` is the cursor to resume from after it, null when the item is none. */
  item(json: JsonValue, id: string | null): string;
  /** What keeps a silent stream open; null when the form has nothing for that. */
  readonly heartbeat: string | null;
  /** The last words; `error` is null when the stream ended well. */
  end(error: JsonValue | null): string;
}

/** Server-Sent Events. The last event is named `end` and holds `{}` or `{"error": ...}`: after it a client need not come back. */
export const eventStream: StreamForm = {
  contentType: 'text/event-stream; charset=utf-8',
  item: (json, id) => `${id === null ? '' : `id: ${id}\n`}data: ${JSON.stringify(json)}\n\n`,
  heartbeat: ': alive\n\n',
  end: (error) => `event: end\ndata: ${JSON.stringify(error === null ? {} : { error })}\n\n`,
};

/** One JSON value a line; a stream that failed ends with the line `{"error": ...}`. */
export const jsonLines: StreamForm = {
  contentType: 'application/x-ndjson; charset=utf-8',
  item: (json) => `${JSON.stringify(json)}\n`,
  heartbeat: null,
  end: (error) => (error === null ? '' : `${JSON.stringify({ error })}\n`),
};

/** The form that a header `Accept` asks for: events unless it names JSON lines. */
export function streamForm(accept: string | undefined): StreamForm {
  return /\bapplication\/(x-ndjson|ndjson|jsonl|x-jsonlines)\b/i.test(accept ?? '') ? jsonLines : eventStream;
}

/** The part of a Node response that a stream needs; HTTP/1.1 and HTTP/2 both have it. */
export interface StreamResponse {
  writeHead(status: number, headers: Record<string, string | number | string[]>): unknown;
  /** Sends the headers before there is a body. */
  flushHeaders(): void;
  write(chunk: string): boolean;
  end(chunk?: string): unknown;
  on(event: 'drain', listener: () => void): unknown;
  readonly destroyed: boolean;
}

/** How often a silent stream says that it lives, in milliseconds. */
export const heartbeatMs = 15_000;
/** How long to wait for a first item before the answer is begun without one, in milliseconds. */
const firstItemMs = 250;

/**
 * Sends the items, each already in its form. `begin` is called once, when the answer is certain to be a stream, and gives its headers.
 * Resolves with false when the stream ended well without any item before it was begun: then nothing was sent.
 * Rejects with the error of a stream that failed before it was begun.
 */
export async function sendStream(
  response: StreamResponse,
  call: Call,
  items: AsyncIterator<string, void>,
  form: StreamForm,
  begin: () => Record<string, string | number | string[]>,
): Promise<boolean> {
  const first = items.next();
  const settled = await Promise.race([first.then(() => true), wait(firstItemMs).then(() => false)]);
  if (settled && (await first).done === true) return false;
  response.writeHead(200, begin());
  response.flushHeaders();

  let drained = true;
  let onDrain = () => {};
  response.on('drain', () => {
    drained = true;
    onDrain();
  });
  const write = (text: string) => {
    drained = response.write(text);
  };
  const heartbeat = setInterval(() => {
    if (drained && form.heartbeat !== null) write(form.heartbeat);
  }, heartbeatMs);
  try {
    for (let step = await first; step.done !== true; step = await items.next()) {
      write(step.value);
      heartbeat.refresh();
      if (!drained) {
        await call.until(
          new Promise<void>((resolve) => {
            onDrain = resolve;
          }),
        );
      }
    }
    response.end(form.end(null));
  } catch (cause) {
    if (!response.destroyed) response.end(form.end(errorJson(ConnectError.from(cause))));
  } finally {
    clearInterval(heartbeat);
    await items.return?.();
  }
  return true;
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
