/** The targets by name. */
import type { Target, TargetName } from '../target.ts';
import { coordinatorFramesTarget } from './coordinator-frames.ts';
import { definitionTarget } from './definition.ts';
import { expressionTarget } from './expression.ts';
import { httpTarget } from './http.ts';
import { journalTarget } from './journal.ts';
import { schemaTarget } from './schema.ts';
import { workerFramesTarget } from './worker-frames.ts';

/** Makes a target ready to run. */
export async function openTarget(name: TargetName): Promise<Target> {
  switch (name) {
    case 'definition':
      return definitionTarget();
    case 'expression':
      return expressionTarget();
    case 'schema':
      return schemaTarget();
    case 'worker-frames':
      return workerFramesTarget();
    case 'coordinator-frames':
      return coordinatorFramesTarget();
    case 'journal':
      return journalTarget();
    case 'http':
      return httpTarget();
    default:
      return name satisfies never;
  }
}
