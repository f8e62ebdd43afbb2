/** Messages to channels. */
import { limits } from '@workflow-orchestrator/proto/limits';
import type { Channel, WebhookChannel } from '../connections/connections.ts';
import type { Job, JobContext, Json } from '../handler.ts';
import type { HttpClient, HttpRequest } from '../http/client.ts';
import { unexpectedStatus } from './http-request.ts';

/** A message for people, and what it is about. */
export interface Message {
  /** Null: made of the job and its data. */
  readonly text: string | null;
  readonly data: Json;
}

/**
 * Delivers a message; answers with the job's output.
 * @throws what the HTTP client throws, and `HTTP_STATUS`
 */
export async function deliver(
  channel: Channel,
  message: Message,
  job: Job,
  context: JobContext,
  http: HttpClient,
  nowMs: () => number,
): Promise<Json> {
  const text = (message.text ?? describeJob(job, message.data)).slice(0, limits.channelMessageLength);
  switch (channel.kind) {
    case 'log':
      context.log[channel.level](`[${channel.name}] ${text}`);
      return { channel: channel.name, kind: channel.kind, message: text };
    case 'webhook': {
      const reply = await http.send(webhookRequest(channel, text, message.data, job, context.idempotencyKey), context.signal);
      if (reply.status < 200 || reply.status > 299) throw unexpectedStatus(reply, `channel '${channel.name}'`, nowMs());
      return { channel: channel.name, kind: channel.kind, message: text, status: reply.status };
    }
    default:
      return channel satisfies never;
  }
}

function webhookRequest(channel: WebhookChannel, text: string, data: Json, job: Job, idempotencyKey: string): HttpRequest {
  return {
    method: 'POST',
    url: channel.url,
    target: `channel '${channel.name}'`,
    headers: new Map([
      ['content-type', 'application/json'],
      ['user-agent', 'workflow-worker'],
      ['idempotency-key', idempotencyKey],
      ...channel.headers,
    ]),
    secretHeaders: new Set(channel.headers.keys()),
    body: JSON.stringify(webhookBody(channel.format, text, data, job)),
    timeoutMs: channel.timeoutMs,
    maxRedirects: limits.httpRedirects,
    maxBytes: limits.httpReplyBytes,
  };
}

/** The chat services read one field and refuse or ignore the rest. */
function webhookBody(format: WebhookChannel['format'], text: string, data: Json, job: Job): Json {
  switch (format) {
    case 'slack':
      return { text };
    case 'discord':
      // Longer messages are refused there.
      return { content: text.slice(0, 2_000) };
    case 'json':
      return { message: text, workflow: { id: job.workflowId, name: job.workflowName }, job: job.id, attempt: job.attempt, data };
    default:
      return format satisfies never;
  }
}

function describeJob(job: Job, data: Json): string {
  const about = `${job.workflowName} (${job.workflowId}): ${job.id}`;
  const text = JSON.stringify(data);
  if (data === null || text === '{}') return about;
  return `${about}: ${text.length > 1_000 ? `${text.slice(0, 997)}...` : text}`;
}
