/**
 * Inputs of the two targets of the worker stream: a row of steps, each a byte that says what happens, two bytes of length or number, and the bytes of a
 * frame where there is one. Steps that are cut off end the row.
 */
import type { Random } from '../../engine-support/random.ts';

/** What happens next. */
export type Step =
  /** These bytes come. */
  | { readonly kind: 'frame'; readonly bytes: Uint8Array }
  /** A frame comes whose numbers are made right, if it is one. */
  | { readonly kind: 'numbered'; readonly bytes: Uint8Array }
  /** Time passes, and the alarm fires if it is due. */
  | { readonly kind: 'wait'; readonly ms: number }
  /** This end gets on with its own work: hands out, ends what runs. */
  | { readonly kind: 'work'; readonly choice: number }
  /** The connection is gone. */
  | { readonly kind: 'close'; readonly code: number }
  | { readonly kind: 'text' };

const kinds = ['frame', 'numbered', 'wait', 'work', 'close', 'text'] as const;
/** Milliseconds of one unit of `wait`. */
const waitUnitMs = 16;
/** Steps of one input at most. */
const mostSteps = 400;

/** The steps that bytes say. */
export function readSteps(input: Uint8Array): Step[] {
  const steps: Step[] = [];
  for (let at = 0; at + 3 <= input.length && steps.length < mostSteps; ) {
    const kind = kinds[input[at] % kinds.length];
    const number = input[at + 1] + 256 * input[at + 2];
    at += 3;
    if (kind === 'frame' || kind === 'numbered') {
      steps.push({ kind, bytes: input.subarray(at, at + number) });
      at += number;
    } else if (kind === 'wait') steps.push({ kind, ms: number * waitUnitMs });
    else if (kind === 'work') steps.push({ kind, choice: number });
    else if (kind === 'close') steps.push({ kind, code: number });
    else steps.push({ kind });
  }
  return steps;
}

/** The bytes of steps. */
export function writeSteps(steps: readonly Step[]): Uint8Array {
  const parts = steps.map((step) => {
    const bytes = 'bytes' in step ? step.bytes.subarray(0, 0xffff) : new Uint8Array();
    const number = 'bytes' in step ? bytes.length : step.kind === 'wait' ? Math.floor(step.ms / waitUnitMs) : numberOf(step);
    return Buffer.concat([Buffer.from([kinds.indexOf(step.kind), number & 0xff, (number >> 8) & 0xff]), bytes]);
  });
  return Buffer.concat(parts);
}

function numberOf(step: Step): number {
  if (step.kind === 'work') return step.choice;
  return step.kind === 'close' ? step.code : 0;
}

/** The bytes of a frame with some of them changed. */
export function damaged(bytes: Uint8Array, random: Random): Uint8Array {
  const copy = Buffer.from(bytes);
  for (let i = random.below(4); i >= 0 && copy.length > 0; i--) copy[random.below(copy.length)] = random.below(256);
  return random.chance(0.3) ? copy.subarray(0, random.below(copy.length + 1)) : copy;
}
