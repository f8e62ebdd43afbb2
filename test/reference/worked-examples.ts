/**
 * The table of worked examples of the language page, section 2, verbatim, and a reader for it.
 * S succeeded, F failed, - skipped.
 */
import type { AbstractGraph, Ending, Outcome } from './evaluator.ts';
import { parse } from './notation.ts';

const table = `
| a.ok->b, a.fail->c, b.ok->d, c.ok->d | all ok / a fails / b fails | a S b S c - d S / a F b - c S d S / a S b F c - d - |
| a.ok->b, a.fail->notify, b.ok->d, x.ok->d | a fails | notify S, b -, d - (an alert does not open the join) |
| a.ok->d, a.fail->c, c.ok->d | a fails | c S, d S |
| v.ok->p, p.ok->r, p.fail->r, v.fail->r | v fails / p fails | r runs, once |
| a(if false).ok->d, x.ok->d | | a -, d S |
| a(if false).ok->d | | a -, d - |
`;

/** One graph, one way in which its jobs end, and what must become of some of them. */
export interface WorkedExample {
  readonly title: string;
  readonly graph: AbstractGraph;
  readonly outcomes: readonly Outcome[];
  readonly expected: ReadonlyMap<number, Ending['status']>;
}

/** The rows of the table; a row with several outcomes gives several examples. */
export function workedExamples(): WorkedExample[] {
  return table
    .trim()
    .split('\n')
    .flatMap((row) => {
      const [graphText, outcomeText, resultText] = row
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim());
      const results = resultText.split(' / ');
      return outcomeText.split(' / ').map((outcome, at) => {
        const graph = parse(graphText);
        const result = results[at] ?? results[0];
        return {
          title: `${graphText} | ${outcome || 'all ok'} | ${result}`,
          graph,
          outcomes: readOutcomes(graph, outcome),
          expected: readResult(graph, result),
        };
      });
    });
}

function readOutcomes(graph: AbstractGraph, text: string): Outcome[] {
  const failing = /^(\w+) fails$/.exec(text)?.[1];
  return graph.jobs.map((job) => (job.id === failing ? 'FAILED' : 'SUCCEEDED'));
}

function readResult(graph: AbstractGraph, text: string): ReadonlyMap<number, Ending['status']> {
  const letters = { S: 'SUCCEEDED', F: 'FAILED', '-': 'SKIPPED' } as const;
  const place = (id: string): number => graph.jobs.findIndex((job) => job.id === id);
  const expected = new Map<number, Ending['status']>();
  for (const match of text.matchAll(/(\w+) ([SF-])(?!\w)/g)) expected.set(place(match[1]), letters[match[2] as keyof typeof letters]);
  for (const match of text.matchAll(/(\w+) runs, once/g)) expected.set(place(match[1]), 'SUCCEEDED');
  if (expected.size === 0 || expected.has(-1)) throw new Error(`cannot read '${text}'`);
  return expected;
}
