/**
 * What is served besides calls: liveness, readiness, metrics, the OpenAPI document; and answers for requests that no route takes.
 * `/healthz` and `/readyz` need no token, so that whoever watches the process needs none.
 */
import { Code } from '@connectrpc/connect';
import { nearest } from '@workflow-orchestrator/proto/nearest';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Registry } from 'prom-client';
import { HttpError } from './errors.ts';

/** Whether the coordinator can serve, and more about it as JSON. */
export interface Readiness {
  readonly ready: boolean;
  readonly detail: unknown;
}

/** What the routes show. */
export interface RouteSources {
  readonly ready: () => Readiness;
  readonly metrics: Registry;
  readonly openApi: () => object;
  readonly version: string;
}

/** Paths that need no token. */
export const openPaths: ReadonlySet<string> = new Set(['/healthz', '/readyz']);

/** Registers the routes of the system. */
export function registerSystemRoutes(app: FastifyInstance, sources: RouteSources): void {
  app.get('/healthz', async () => ({ status: 'ok', version: sources.version }));
  app.get('/readyz', async (_request, reply) => {
    const { ready, detail } = sources.ready();
    return reply.code(ready ? 200 : 503).send({ ready, detail });
  });
  app.get('/metrics', async (_request, reply) =>
    reply.header('content-type', sources.metrics.contentType).send(await sources.metrics.metrics()),
  );
  let document: string | null = null;
  app.get('/openapi.json', async (_request, reply) => {
    document ??= JSON.stringify(sources.openApi());
    return reply.header('content-type', 'application/json; charset=utf-8').send(document);
  });
}

/** A path that can be asked for: as in the annotations, with `{field}` for what varies. */
export interface KnownPath {
  readonly verb: string;
  readonly path: string;
}

/** The answer to a request that no route takes: 405 with the verbs that the path has, else 404 with the path that was probably meant. */
export function createNotFound(paths: readonly KnownPath[]): (request: FastifyRequest, reply: FastifyReply) => never {
  const patterns = paths.map(({ verb, path }) => ({
    verb,
    path,
    pattern: new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}/?$`),
  }));
  return (request, reply) => {
    const path = request.url.split('?', 1)[0];
    const verbs = [...new Set(patterns.filter(({ pattern }) => pattern.test(path)).map(({ verb }) => verb))];
    if (verbs.length > 0) {
      reply.header('allow', verbs.join(', '));
      throw new HttpError(
        405,
        Code.Unimplemented,
        `${request.method} ${path} is not possible; ${verbs.join(' and ')} ${verbs.length === 1 ? 'is' : 'are'}`,
        'METHOD_NOT_ALLOWED',
      );
    }
    const meant = nearest(path, new Set(patterns.map((one) => one.path)));
    const hint = meant === null ? '/openapi.json lists all calls' : `did you mean ${meant}?`;
    throw new HttpError(404, Code.NotFound, `there is no ${path.slice(0, 200)}; ${hint}`, 'NO_SUCH_ROUTE');
  };
}
