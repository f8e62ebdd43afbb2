/** Real coordinators on a real PostgreSQL with a real Redis in front of it: what their loss costs, and what people read of them with SQL. */
import { jobStatusName, type Workflow, workflowStatusName } from '@workflow-orchestrator/sdk';
import t from 'tap';
import { ownPostgres } from '../services/postgres-process.ts';
import { ownRedis } from '../services/redis-process.ts';
import { connect, emptyDatabase } from '../store-support/databases.ts';
import { eventually, startCoordinator, testWorkers } from './support/system.ts';

const [postgres, redis] = await Promise.all([ownPostgres(t), ownRedis(t, 'save')]);
const skip = 'skip' in postgres ? postgres.skip : 'skip' in redis ? redis.skip : false;
t.setTimeout(110_000);

const chain = (name: string, ms: number) => `
workflow:
  name: ${name}
  inputs: { n: { type: integer, default: 0 } }
  outputs: { last: "\${{ jobs.second.output }}" }
  jobs:
    - { id: first, type: echo, parameters: { n: "\${{ inputs.n }}" } }
    - { id: second, type: sleep, parameters: { ms: ${ms} }, needs: first }
    - { id: third, type: fail, needs: second, allow_failure: true }
`;

t.test(
  'Redis is killed in the middle of the load and never comes back: no client is told an error, no workflow is lost',
  { skip },
  async (t) => {
    if ('skip' in postgres || 'skip' in redis) return;
    const database = await emptyDatabase(postgres.url);
    t.teardown(database.drop);
    const { client, url, port } = await startCoordinator(t, [], { DATABASE_URL: database.url, REDIS_URL: redis.url });
    await testWorkers(t, t.testdir()).start(url, 'w1');
    const ids: string[] = [];
    let isOver = false;
    // Lanes that submit and read on and on; whatever a client is told that is no answer rejects here.
    const lane = async (): Promise<void> => {
      while (!isOver) {
        const results = await client.submitBatch(
          Array.from({ length: 5 }, (_, n) => ({ source: { yaml: chain('load', 20) }, inputs: { n }, start: true })),
        );
        for (const result of results) {
          if (result.kind === 'refused') throw new Error(`${result.code}: ${result.message}`);
          ids.push(result.workflowId);
        }
        await client.get(ids.at(-1)!);
        await client.listPage({ pageSize: 10 });
      }
    };
    const lanes = Promise.all(Array.from({ length: 4 }, lane));
    // A lane that fails is seen at the end, or here when the load stops.
    lanes.catch(() => {});
    await eventually('the load is under way', () => ids.length >= 40, 40_000);
    await redis.kill();
    const before = ids.length;
    const tiers = async () => {
      const answer = (await (await fetch(`http://127.0.0.1:${port}/readyz`)).json()) as {
        ready: boolean;
        detail: { tiers: { name: string; health: string }[] };
      };
      return { ready: answer.ready, ...Object.fromEntries(answer.detail.tiers.map(({ name, health }) => [name, health])) } as Record<
        string,
        unknown
      >;
    };
    await eventually(
      'its loss is seen',
      async () => Object.values(await tiers()).some((health) => health === 'DEGRADED' || health === 'DOWN'),
      40_000,
    );
    await eventually('the load goes on', () => ids.length >= before + 40, 40_000);
    isOver = true;
    await lanes;
    await eventually(
      'everything has ended',
      async () => (await client.listPage({ status: ['PENDING', 'RUNNING'], pageSize: 1 })).items.length === 0,
      60_000,
    );
    for (const id of ids) t.equal(workflowStatusName((await client.get(id, { view: 'summary' })).status), 'SUCCEEDED', id);
    t.equal(new Set(ids).size, ids.length);
    t.match(await tiers(), { ready: true }, 'and it serves');
  },
);

t.test('SQL answers what the API answers', { skip }, async (t) => {
  if ('skip' in postgres) return;
  const database = await emptyDatabase(postgres.url);
  t.teardown(database.drop);
  const { client, url } = await startCoordinator(t, [], { DATABASE_URL: database.url });
  await testWorkers(t, t.testdir()).start(url, 'w1');
  const sql = connect(database.url);
  t.teardown(() => sql.end({ timeout: 2 }));
  const bySql = async (id: string) => {
    const [workflow] =
      await sql`select name, status, submitted_at, started_at, ended_at, labels, outputs, idempotency_key, seq from workflow where id = ${id}`;
    const jobs =
      await sql`select job_id, type, status, attempts, worker, error_code, output from job where workflow_id = ${id} order by job_id`;
    return workflow === undefined ? null : { ...workflow, jobs: jobs.map((job) => ({ ...job })) };
  };
  const byApi = (workflow: Workflow) => {
    const date = (at: { seconds: bigint; nanos: number } | undefined) =>
      at === undefined ? null : new Date(Number(at.seconds) * 1_000 + at.nanos / 1e6);
    return {
      name: workflow.name,
      status: workflowStatusName(workflow.status),
      submitted_at: date(workflow.submitTime),
      started_at: date(workflow.startTime),
      ended_at: date(workflow.endTime),
      labels: workflow.labels,
      seq: Number(workflow.lastEventSeq),
      jobs: workflow.jobs
        .map((job) => ({
          job_id: job.id,
          type: job.type,
          status: jobStatusName(job.status),
          attempts: job.attempt,
          worker: job.workerId || null,
        }))
        .sort((a, b) => (a.job_id < b.job_id ? -1 : 1)),
    };
  };
  /** Both, as soon as they say the same; and how long that took. */
  const agreed = async (id: string, status: string) => {
    await eventually(`the API says ${status}`, async () => workflowStatusName((await client.get(id)).status) === status);
    const since = performance.now();
    let last = '';
    const { api, rows } = await eventually('SQL says the same', async () => {
      const [api, rows] = [byApi(await client.get(id)), await bySql(id)];
      last = JSON.stringify({ api, rows });
      return rows !== null && matches(rows, api) ? { api, rows } : null;
    }).catch((error: Error) => {
      throw new Error(`${error.message}: ${last}`);
    });
    t.match(rows, api, status);
    t.comment(`${status}: SQL agreed after ${Math.round(performance.now() - since)} ms`);
    return rows as Record<string, unknown>;
  };
  const waiting = await client.submitWorkflow({ yaml: chain('asked', 10) }, { labels: { team: 'a' }, idempotencyKey: 'key-1' });
  t.match(await agreed(waiting.id, 'PENDING'), { idempotency_key: 'key-1' });
  const running = await client.submitAndStartWorkflow({ yaml: chain('asked', 60_000) }, { labels: { team: 'b' } });
  await eventually('the second job runs', async () => jobStatusName((await client.job(running.id, 'second')).status) === 'RUNNING');
  await agreed(running.id, 'RUNNING');
  const done = await client.submitAndStartWorkflow({ yaml: chain('asked', 10) }, { inputs: { n: 7 } });
  const row = await agreed(done.id, 'SUCCEEDED');
  t.same(row.outputs, { last: { slept: 10 } });
  t.match(row.jobs, [{ output: { parameters: { n: 7 } } }, { output: { slept: 10 } }, { error_code: 'TOLD_TO' }]);
  await client.cancel(running.id, { force: true });
  await agreed(running.id, 'CANCELLED');
  // People's own questions.
  const counts = await sql`select status, count(*)::integer as n from workflow group by status order by status`;
  t.same(
    [...counts],
    [
      { status: 'CANCELLED', n: 1 },
      { status: 'PENDING', n: 1 },
      { status: 'SUCCEEDED', n: 1 },
    ],
  );
  t.same([...(await sql`select id from workflow where labels @> '{"team":"b"}'`)], [{ id: running.id }]);
});

/** Whether every field of `wanted` is in `found` with the same value. */
function matches(found: unknown, wanted: unknown): boolean {
  if (wanted instanceof Date) return found instanceof Date && found.getTime() === wanted.getTime();
  if (typeof wanted !== 'object' || wanted === null) return found === wanted;
  if (typeof found !== 'object' || found === null) return false;
  return Object.entries(wanted).every(([key, value]) => matches((found as Record<string, unknown>)[key], value));
}
