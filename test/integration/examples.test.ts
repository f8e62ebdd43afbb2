/**
 * The example workflows: they compile, name only connections that are there, and end as their comments say.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parse } from 'yaml';
import { type Connections, findConnection } from '../../worker/connections/connections.ts';
import { loadConnections } from '../../worker/connections/load.ts';
import { RetryableError } from '../../worker/errors.ts';
import type { Handler, Json } from '../../worker/handler.ts';
import { stockHandlers, stockTypes } from '../../worker/jobs/stock.ts';
import { openComputePool } from '../../worker/pool/pool.ts';
import { graphOfText, runWorkflow } from '../examples-support/workflow-run.ts';
import { ROOT } from '../repo/source.ts';

const FOLDER = join(ROOT, 'examples/workflow_definitions');
const files = readdirSync(FOLDER).sort();

function textOf(file: string): string {
  return readFileSync(join(FOLDER, file), 'utf8');
}

function connectionsIn(dataFolder: string): Connections {
  return loadConnections({ file: join(ROOT, 'examples/connections.yaml'), dataFolder, env: {} });
}

t.test('every example compiles, with job types that the stock worker has', async (t) => {
  for (const file of files) {
    const graph = graphOfText(textOf(file));
    t.equal(`${graph.name}.yaml`, file, `${file} has the name of its workflow`);
    for (const job of graph.jobs) t.ok((stockTypes as readonly string[]).includes(job.type), `${file}: ${job.id} is of a stock type`);
  }
});

t.test('every connection that an example names is in examples/connections.yaml', async (t) => {
  const connections = connectionsIn(t.testdir());
  for (const file of files) {
    const { workflow } = parse(textOf(file)) as { workflow: { jobs: { id: string; parameters?: Record<string, unknown> }[] } };
    for (const { id, parameters = {} } of workflow.jobs) {
      for (const what of ['schema', 'endpoint', 'channel', 'store'] as const) {
        const name = parameters[what];
        if (typeof name === 'string') t.doesNotThrow(() => findConnection(connections, what, name), `${file}: ${id} names ${what} ${name}`);
      }
    }
  }
});

t.test('examples/README.md tells of every example', async (t) => {
  const readme = readFileSync(join(ROOT, 'examples/README.md'), 'utf8');
  for (const file of files) t.ok(readme.includes(`(workflow_definitions/${file})`), file);
});

/** One way to run an example. `jobs` are those worth a word: S succeeded, F failed, `-` did not run. `outputs` are parts of what must come out. */
interface Story {
  readonly file: string;
  readonly when: string;
  readonly inputs: Json;
  /** Jobs whose handler fails, on every attempt. */
  readonly breaks?: readonly string[];
  readonly status: string;
  readonly jobs: string;
  readonly outputs?: Record<string, unknown>;
}

const STORIES: readonly Story[] = [
  {
    file: 'data-pipeline',
    when: 'as it stands',
    inputs: {},
    status: 'SUCCEEDED',
    jobs: 'validate S process S save S alert S',
  },
  {
    file: 'etl-orders',
    when: 'the orders fit',
    inputs: {},
    status: 'SUCCEEDED',
    jobs: 'check S clean S by-country S by-product S combine S load S quarantine - tell -',
    outputs: {
      day: '2026-11-01',
      kept: 4,
      totals: {
        countries: [
          { country: 'DE', orders: 2, total: 455.5 },
          { country: 'CH', orders: 1, total: 420 },
          { country: 'AT', orders: 1, total: 129 },
        ],
        products: [
          { product: 'desk', orders: 2, total: 840 },
          { product: 'lamp', orders: 1, total: 35.5 },
          { product: 'chair', orders: 1, total: 129 },
        ],
      },
    },
  },
  {
    file: 'etl-orders',
    when: 'an order does not fit',
    inputs: { orders: [{ id: 'A-1', country: 'Switzerland', product: 'desk', amount: 420, status: 'paid' }] },
    status: 'FAILED',
    jobs: 'check F clean - by-country - by-product - combine - load - quarantine S tell S',
  },
  {
    file: 'deployment',
    when: 'the new version holds',
    inputs: {},
    status: 'SUCCEEDED',
    jobs: 'release-notes S check-versions S smoke-plan S roll-out S verify S warm-up - roll-back - announce S page-someone - record S',
    outputs: { running: '2.4.0' },
  },
  {
    file: 'deployment',
    when: 'the new version does not hold',
    inputs: { error_rate: 0.2 },
    status: 'SUCCEEDED',
    jobs: 'roll-out S verify F warm-up - roll-back S announce - page-someone - record S',
    outputs: { running: '2.3.1' },
  },
  {
    file: 'deployment',
    when: 'the version makes no sense',
    inputs: { version: 'latest' },
    status: 'FAILED',
    jobs: 'check-versions F roll-out - verify - roll-back - announce - page-someone - record S',
  },
  {
    file: 'deployment',
    when: 'the roll-out breaks',
    inputs: {},
    breaks: ['roll-out'],
    status: 'FAILED',
    jobs: 'roll-out F verify - roll-back - announce - page-someone S record S',
  },
  {
    file: 'customer-onboarding',
    when: 'all is well',
    inputs: {},
    status: 'SUCCEEDED',
    jobs: 'application S identity S sanctions S scoring S decide S open-account S welcome S decline - send S',
    outputs: { decision: 'accept' },
  },
  {
    file: 'customer-onboarding',
    when: 'the name is on a list',
    inputs: { application: { name: 'James Moriarty', email: 'm@example.com', country: 'GB', birth_year: 1970, monthly_income: 90_000 } },
    status: 'SUCCEEDED',
    jobs: 'decide S open-account - welcome - decline S send S',
    outputs: { decision: 'decline', account: null },
  },
  {
    file: 'fan-out-fan-in',
    when: 'as it stands',
    inputs: {},
    status: 'SUCCEEDED',
    jobs: 'split S total S largest S sorted S risky F collect S first S summary S',
    outputs: { statistics: { total: 52, largest: 9 } },
  },
  {
    file: 'order-saga',
    when: 'everything works',
    inputs: {},
    status: 'SUCCEEDED',
    jobs: 'reserve S charge S ship S refund - release - tell -',
    outputs: { outcome: 'shipped' },
  },
  {
    file: 'order-saga',
    when: 'the charge is refused',
    inputs: { amount: 900 },
    status: 'SUCCEEDED',
    jobs: 'reserve S charge F ship - refund - release S tell S',
    outputs: { outcome: 'cancelled' },
  },
  {
    file: 'order-saga',
    when: 'the parcel cannot be shipped',
    inputs: {},
    breaks: ['ship'],
    status: 'SUCCEEDED',
    jobs: 'reserve S charge S ship F refund S release S tell S',
    outputs: { outcome: 'cancelled' },
  },
  {
    file: 'order-saga',
    when: 'not even the undoing works',
    inputs: {},
    breaks: ['ship', 'release'],
    status: 'FAILED',
    jobs: 'ship F refund S release F tell -',
  },
  {
    file: 'report-with-cleanup',
    when: 'as it stands',
    inputs: {},
    status: 'SUCCEEDED',
    jobs: 'stage S compute S write S sweep S account S',
    outputs: { report: 'Monthly report: 3 months, 16 in total, 7 at best.' },
  },
  {
    file: 'resilient-call',
    when: 'the service is away',
    inputs: { currency: 'USD' },
    status: 'SUCCEEDED',
    jobs: 'ask F fallback S use S',
    outputs: { rate: 1.09 },
  },
];

/** The handlers, besides that attempts of some jobs fail. */
function failing(handlers: Readonly<Record<string, Handler>>, jobs: readonly string[]): Record<string, Handler> {
  const guard =
    (handler: Handler): Handler =>
    (job, context) => {
      if (jobs.includes(job.id)) throw new RetryableError('broken for this test', { code: 'BROKEN' });
      return handler(job, context);
    };
  return Object.fromEntries(Object.entries(handlers).map(([type, handler]) => [type, guard(handler)]));
}

t.test('examples end as they should', async (t) => {
  const pool = openComputePool({ size: 1 });
  t.teardown(() => pool.close());
  for (const { file, when, inputs, breaks = [], status, jobs, outputs } of STORIES) {
    await t.test(`${file}: ${when}`, async (t) => {
      const resolve = () => Promise.reject(new Error('no network in this test'));
      const stock = stockHandlers(connectionsIn(t.testdir()), pool, { resolve });
      const ending = await runWorkflow(textOf(`${file}.yaml`), inputs, failing(stock.handlers, breaks));
      await stock.close();
      t.equal(ending.status, status);
      for (const [, id, word] of jobs.matchAll(/(\S+) ([SF-])(?= |$)/g)) {
        const found = ending.jobs[id as string] ?? 'no such job';
        t.equal(found[0], word, `${id}: ${found}`);
      }
      if (outputs !== undefined) t.has(ending.outputs, outputs);
    });
  }
  t.same([...new Set(STORIES.map(({ file }) => `${file}.yaml`))].sort(), files, 'every example has a story');
});
