/**
 * Job type `integration`: sends data somewhere, or fetches some. Where to is said by exactly one of
 * `url`, `endpoint`, `channel` and `store`; everything else depends on it.
 *
 * Invariants
 * 1. A name that the connections file does not have fails at once, before anything else is looked at.
 * 2. Requests carry the job's idempotency key, appends and inserts remember it: a second attempt changes nothing that the first did.
 */

import { limits } from '@workflow-orchestrator/proto/limits';
import { type Connections, findConnection } from '../connections/connections.ts';
import type { Fields } from '../fields/fields.ts';
import type { Handler, Job, JobContext, Json } from '../handler.ts';
import type { HttpClient, HttpRequest } from '../http/client.ts';
import type { Stores } from '../stores/open.ts';
import { deliver } from './channel.ts';
import { outputOf, type RequestOptions, readRequestOptions, readUrl, requestToEndpoint, requestToUrl } from './http-request.ts';
import { readData, readParameters } from './parameters.ts';
import { whileAlive } from './sign-of-life.ts';
import { operate, readStoreRequest, requestToStoreEndpoint } from './store-operation.ts';

/** What the handler works with. */
export interface IntegrationTools {
  readonly connections: Connections;
  readonly http: HttpClient;
  readonly stores: Stores;
  /** The wall clock, milliseconds since 1970: what Retry-After dates are compared with. */
  readonly nowMs: () => number;
}

const targets = ['url', 'endpoint', 'channel', 'store'] as const;

/** What a job has to do, when its parameters are checked. */
type Action = (context: JobContext) => Promise<Json>;

/** The handler. */
export function integrationHandler(tools: IntegrationTools): Handler {
  return async (job, context) => {
    const act = readParameters(job, (fields) => readIntegration(fields, job, tools));
    return whileAlive(context, () => act(context));
  };
}

/** Reads the parameters that belong to the target. */
function readIntegration(fields: Fields, job: Job, tools: IntegrationTools): Action {
  const target = fields.exclusive(targets);
  switch (target) {
    case null:
      fields.problem(null, `needs one of ${targets.join(', ')}: where to`);
      return async () => null;
    case 'url': {
      const url = readUrl(fields);
      const options = readRequestOptions(fields);
      fields.close('an HTTP request');
      return (context) => exchange(tools, requestToUrl(url, options, job.input, context.idempotencyKey), options, context);
    }
    case 'endpoint':
      return readEndpointAction(fields, job, tools);
    case 'channel': {
      const channel = findConnection(tools.connections, 'channel', fields.requiredText('channel'));
      const message = { text: fields.text('message', { max: limits.channelMessageLength }) ?? null, data: readData(fields, job) };
      fields.close('a message to a channel');
      return async (context) => {
        const output = await deliver(channel, message, job, context, tools.http, tools.nowMs);
        if (channel.kind !== 'log') context.log.info('the message was delivered', { channel: channel.name });
        return output;
      };
    }
    case 'store': {
      const name = fields.requiredText('store');
      const store = tools.stores.get(name);
      const request = readStoreRequest(fields, store.kind, job.input);
      return async (context) => {
        const output = await operate(store, name, request, context);
        context.log.info(`${request.operation} is done`, { store: name, target: request.target });
        return output;
      };
    }
    default:
      return target satisfies never;
  }
}

function readEndpointAction(fields: Fields, job: Job, tools: IntegrationTools): Action {
  const endpoint = findConnection(tools.connections, 'endpoint', fields.requiredText('endpoint'));
  if (endpoint.kind === 'http') {
    const path = fields.text('path', { max: 4_096 }) ?? '';
    const options = readRequestOptions(fields);
    fields.close('a request to an endpoint');
    return (context) => exchange(tools, requestToEndpoint(endpoint, path, options, job.input, context.idempotencyKey), options, context);
  }
  const timeoutMs = fields.durationMs('timeout', { min: 1, max: limits.storeTimeoutMaxMs }) ?? null;
  const request = requestToStoreEndpoint(endpoint, readData(fields, job), timeoutMs);
  fields.close(`endpoint '${endpoint.name}', which keeps data in a store`);
  const store = tools.stores.get(endpoint.store);
  return async (context) => {
    const output = await operate(store, endpoint.store, request, context);
    context.log.info(`the data is kept: ${request.operation}`, { endpoint: endpoint.name, store: endpoint.store, target: request.target });
    return { endpoint: endpoint.name, ...(output as { [key: string]: Json }) };
  };
}

/** Sends a request and judges the reply. */
async function exchange(tools: IntegrationTools, request: HttpRequest, options: RequestOptions, context: JobContext): Promise<Json> {
  context.log.info(`${request.method} ${request.target}`);
  const reply = await tools.http.send(request, context.signal);
  context.log.info(`${request.target} answered ${reply.status}`, { bytes: reply.body.length });
  return outputOf(reply, options, request.target, tools.nowMs());
}
