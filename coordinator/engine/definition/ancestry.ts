/**
 * Which jobs an expression may read: those that come before it.
 *
 * Invariants
 * 1. A job reads its ancestors along edges of either kind; a finaliser reads every job that is no finaliser; workflow outputs read all.
 * 2. Where edges could not be resolved, nobody is blamed for an ancestor that only this edge may give.
 */

import type { Targets } from './cycles.ts';
import type { Wiring } from './edges.ts';
import type { JobFile } from './job-file.ts';
import type { ScalarNode } from './node.ts';
import { type Problems, quote } from './problem.ts';
import { closure, pathsExist } from './reachability.ts';

/** A job that an expression of another job reads. */
export interface JobRead {
  readonly reader: number;
  readonly read: number;
  readonly node: ScalarNode;
  /** Offset of the name in the file. */
  readonly offset: number;
}

/** Tells every read of a job that may not have ended. */
export function checkReads(problems: Problems, jobs: readonly JobFile[], wiring: Wiring, reads: readonly JobRead[]): void {
  if (!wiring.usable) return;
  const first = new Map<number, JobRead>();
  for (const read of reads) {
    const key = read.reader * jobs.length + read.read;
    if (!first.has(key)) first.set(key, read);
  }
  const asked: JobRead[] = [];
  for (const read of first.values()) {
    const { reader, read: other } = read;
    if (reader === other)
      tell(problems, read, `the job ${quote(jobs[reader].id)} cannot read itself`, 'a retry finds its checkpoint in the worker');
    else if (wiring.finalisers[reader]) {
      if (!wiring.finalisers[other]) continue;
      const message = `${quote(jobs[reader].id)} and ${quote(jobs[other].id)} both run at the end and do not wait for each other`;
      tell(problems, read, message, `give ${quote(jobs[reader].id)} a source with needs`);
    } else if (!wiring.targets[other].includes(reader)) asked.push(read);
  }
  if (asked.length === 0) return;
  const excused = excuses(wiring);
  const found = pathsExist(
    wiring.targets,
    asked.map(({ reader, read }) => ({ ancestor: read, descendant: reader })),
  );
  for (const [index, read] of asked.entries()) {
    if (found[index] || excused(read)) continue;
    const [reader, other] = [jobs[read.reader].id, jobs[read.read].id];
    tell(problems, read, `the job ${quote(reader)} does not wait for ${quote(other)}, so it cannot read it`, `add  needs: [${other}]`);
  }
}

function tell(problems: Problems, { node, offset }: JobRead, message: string, hint: string): void {
  problems.addInside(node, offset, 'not-an-ancestor', message, hint);
}

/** Whether a missing ancestor may be due to an edge that could not be resolved. */
function excuses({ targets, unknownSources, unknownTargets }: Wiring): (read: JobRead) => boolean {
  if (unknownSources.length === 0 && unknownTargets.length === 0) return () => false;
  const unsureReaders = closure(targets, unknownSources);
  const unsureReads = closure(reversed(targets), unknownTargets);
  return ({ reader, read }) => unsureReaders.has(reader) || unsureReads.has(read);
}

function reversed(targets: Targets): Targets {
  const sources: number[][] = targets.map(() => []);
  for (const [source, set] of targets.entries()) for (const target of set) sources[target].push(source);
  return sources;
}
