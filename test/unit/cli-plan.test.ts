/**
 * `wf plan` without the command line: scenarios and cases against the page's worked examples and an independent reading of the language.
 */
import fc from 'fast-check';
import t from 'tap';
import { CaseFinder, type JobCases } from '../../sdk/cli/plan/cases.ts';
import { forPlanning, type PlannedOutcome } from '../../sdk/cli/plan/derive.ts';
import { casesJson, casesText, endJson } from '../../sdk/cli/plan/print.ts';
import { Planner } from '../../sdk/cli/plan/scenario.ts';
import { graphOf } from '../engine-support/graphs.ts';

/** The end of a scenario as `id: STATUS` words; what is not named SUCCEEDS. */
function endOf(notation: string, outcomes: Record<string, PlannedOutcome> = {}): Record<string, string> {
  const graph = graphOf(notation);
  const end = new Planner(graph).run((index) => outcomes[graph.jobs[index].id] ?? 'SUCCEEDED');
  const words = end.jobs.map((job, index) => {
    const causes = job.causes.map((cause) => graph.jobs[cause].id).join('+');
    return [graph.jobs[index].id, [job.status, job.skipReason ?? '', causes].filter((word) => word !== '').join(' ')];
  });
  return { workflow: end.status, ...Object.fromEntries(words) };
}

t.test('worked examples of the language', async (t) => {
  const branches = 'a.ok->b, a.fail->c, b.ok->d, c.ok->d';
  t.same(endOf(branches), { workflow: 'SUCCEEDED', a: 'SUCCEEDED', b: 'SUCCEEDED', c: 'SKIPPED BRANCH_NOT_TAKEN', d: 'SUCCEEDED' });
  t.match(endOf(branches, { a: 'FAILED' }), { workflow: 'FAILED', b: 'SKIPPED UPSTREAM_FAILED a', c: 'SUCCEEDED', d: 'SUCCEEDED' });
  t.match(endOf(branches, { b: 'FAILED' }), { workflow: 'FAILED', c: 'SKIPPED BRANCH_NOT_TAKEN', d: 'SKIPPED UPSTREAM_FAILED b' });
  t.match(endOf('a.ok->b, a.fail->notify, b.ok->d, x.ok->d', { a: 'FAILED' }), { notify: 'SUCCEEDED', d: 'SKIPPED UPSTREAM_FAILED a' });
  t.match(endOf('a(if true).ok->d', { a: 'IF_FALSE' }), {
    workflow: 'SUCCEEDED',
    a: 'SKIPPED CONDITION_FALSE',
    d: 'SKIPPED UPSTREAM_SKIPPED',
  });
  t.match(endOf('a(if false).ok->d, x.ok->d'), { a: 'SUCCEEDED', d: 'SUCCEEDED' }, 'conditions are as the plan says, not as the file does');
  t.match(endOf('a.ok->b, z(always_run)', { a: 'FAILED' }), { workflow: 'FAILED', b: 'SKIPPED UPSTREAM_FAILED a', z: 'SUCCEEDED' });
});

t.test('only the shape of a graph decides', async (t) => {
  const graph = graphOf('a.ok->b', {
    jobs: {
      a: {
        parameters: { kind: 'dynamic', render: () => ({ kind: 'failure', message: 'no value' }) },
        checkOutput: () => 'does not fit',
        timeouts: { queueMs: 1, runMs: 1, heartbeatMs: 1, totalMs: 1 },
        retry: {
          maxAttempts: 20,
          maxAttemptsWhenLost: 20,
          initialDelayMs: 60_000,
          factor: 2,
          maxDelayMs: 600_000,
          jitter: 0,
          on: [],
          notOn: [],
        },
      },
    },
    timeoutMs: 1,
    outputs: { kind: 'dynamic', render: () => ({ kind: 'failure', message: 'no value' }) },
  });
  t.equal(new Planner(graph).run(() => 'SUCCEEDED').status, 'SUCCEEDED');
  t.match(
    endJson(
      graph,
      new Planner(graph).run((index) => (index === 0 ? 'FAILED' : 'SUCCEEDED')),
    ),
    {
      workflow: { status: 'FAILED' },
      jobs: {
        a: { status: 'FAILED', skipReason: null, causes: [] },
        b: { status: 'SKIPPED', skipReason: 'UPSTREAM_FAILED', causes: ['a'] },
      },
    },
  );
  t.equal(forPlanning(graph, () => 'SUCCEEDED').jobs[0].checkOutput, null);
});

/** Cases as text: `runs: a=S b=S | ...`. */
function cases(notation: string, id: string, steps?: number): string[] {
  const graph = graphOf(notation);
  const { groups, complete } = new CaseFinder(new Planner(graph), steps).casesOf(graph.indexOf.get(id) ?? -1);
  const texts = groups.map(({ verdict, when }) => {
    const conditions = when.map((each) => [...each].map(([index, outcome]) => `${graph.jobs[index].id}=${outcome[0]}`).join(' '));
    const causes = verdict.kind === 'runs' ? '' : verdict.causes.map((index) => graph.jobs[index].id).join('+');
    return `${verdict.kind === 'runs' ? 'runs' : `${verdict.reason} ${causes}`.trim()}: ${conditions.join(' | ')}`;
  });
  return complete ? texts : [...texts, '...'];
}

t.test('cases are compact: only what makes a difference is named', async (t) => {
  t.same(cases('a.ok->b', 'a'), ['runs: ']);
  t.same(cases('a.ok->b', 'b'), ['runs: a=S', 'UPSTREAM_FAILED a: a=F']);
  t.same(cases('a.ok->b, a.fail->c, b.ok->d, c.ok->d', 'd'), [
    'runs: a=S b=S | a=F c=S',
    'UPSTREAM_FAILED b: a=S b=F',
    'UPSTREAM_FAILED c: a=F c=F',
  ]);
  t.same(cases('v.ok->p, p.ok->r, p.fail->r, v.fail->r', 'r'), ['runs: '], 'the cleanup always runs');
  t.same(cases('a(if true).ok->d, x.ok->d', 'd'), [
    'runs: a=S x=S | a=I x=S',
    'UPSTREAM_FAILED x: a=S x=F | a=I x=F',
    'UPSTREAM_FAILED a: a=F x=S',
    'UPSTREAM_FAILED a+x: a=F x=F',
  ]);
  t.same(cases('a.ok->b, b.ok->c, z(always_run)', 'z'), ['runs: ']);
  const wide = Array.from({ length: 20 }, (_, index) => `a${index}.ok->b`).join(', ');
  t.equal(cases(wide, 'b', 1_000).at(-1), '...', 'a million combinations are not tried');
  t.match(cases(wide, 'b', 1_000), ['runs: ', /^UPSTREAM_FAILED a\d+: a\d+=F$/]);
});

t.test('the cases of a job agree with every scenario, and exactly one applies', async (t) => {
  const ids = ['a', 'b', 'c', 'd', 'e'];
  const edges = ids.flatMap((source, at) =>
    ids.slice(at + 1).flatMap((target) => ['ok', 'fail'].map((kind) => `${source}.${kind}->${target}`)),
  );
  const shape = fc.subarray(edges, { minLength: 3, maxLength: 7 });
  const outcome = fc.constantFrom<PlannedOutcome>('SUCCEEDED', 'FAILED');
  fc.assert(
    fc.property(shape, fc.array(outcome, { minLength: 5, maxLength: 5 }), (parts, outcomes) => {
      const graph = graphOf([...ids, ...parts].join(', '));
      const planner = new Planner(graph);
      const finder = new CaseFinder(planner);
      const end = planner.run((index) => outcomes[index]);
      for (const job of graph.jobs) {
        const { groups } = finder.casesOf(job.index);
        const applying = groups.filter(({ when }) => when.some((each) => [...each].every(([index, wanted]) => outcomes[index] === wanted)));
        if (applying.length !== 1) throw new Error(`${applying.length} cases apply to ${job.id}`);
        const { verdict } = applying[0];
        const { skipReason, causes } = end.jobs[job.index];
        const same = verdict.kind === 'runs' ? skipReason === null : verdict.reason === skipReason && `${verdict.causes}` === `${causes}`;
        if (!same) throw new Error(`${job.id}: ${JSON.stringify(verdict)} is not ${skipReason} ${causes}`);
      }
    }),
    { numRuns: 60 },
  );
  t.pass();
});

t.test('cases as text and JSON', async (t) => {
  const graph = graphOf('a.ok->b, x(if true)');
  const finder = new CaseFinder(new Planner(graph));
  const all: JobCases[] = graph.jobs.map((job) => finder.casesOf(job.index));
  t.same(casesText(graph, all).slice(0, 7), [
    'a',
    '  runs always',
    '',
    'b',
    '  runs when',
    '      a SUCCEEDED',
    '  is skipped (UPSTREAM_FAILED) when',
  ]);
  t.match(casesText(graph, all).join('\n'), /x\n {2}runs always\n {2}its own condition must hold too: true/);
  t.match(casesJson(graph, all), {
    jobs: {
      b: {
        complete: true,
        cases: [
          { runs: true, when: [{ a: 'SUCCEEDED' }] },
          { runs: false, skipReason: 'UPSTREAM_FAILED', causes: ['a'] },
        ],
      },
    },
  });
});

t.test('a long chain is planned in bounded time', async (t) => {
  const notation = Array.from({ length: 999 }, (_, index) => `j${index}.ok->j${index + 1}`).join(', ');
  const graph = graphOf(notation);
  const planner = new Planner(graph);
  t.equal(planner.run((index) => (index === 10 ? 'FAILED' : 'SUCCEEDED')).jobs[999].skipReason, 'UPSTREAM_FAILED');
  const finder = new CaseFinder(planner, 20_000);
  t.equal(finder.casesOf(5).complete, true);
  t.equal(finder.casesOf(999).complete, false);
});
