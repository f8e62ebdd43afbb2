/**
 * What a step of an expression costs beyond itself: functions and operators whose work grows with their operands.
 *
 * Invariants
 * 1. No value outgrows `MAX_WEIGHT`, so that what is done to it once is bounded; what is done to it often is charged each time.
 * 2. The value evaluated last before a node is its right operand, or the receiver or first argument of its call: operands are evaluated in an order
 *    that ends with these. Their size bounds the work of the node.
 */
import type { ASTNode } from '@marcbachmann/cel-js';
import type { Budget } from '../budget.ts';
import { weigh } from './weight.ts';

/** Weight of the heaviest value that an expression may make. */
const MAX_WEIGHT = 500_000;
/** Characters of the longest text that an expression may make. */
const MAX_TEXT = 4_000_000;
/** Weight that is compared in one step. */
const WEIGHT_PER_STEP = 8;
/** Characters that are searched or copied in one step. */
const CHARS_PER_STEP = 100;
/** Converting to a time zone goes through the runtime's calendar: about 100 microseconds. */
const TIME_ZONE_STEPS = 1_000;
/** Reading a time or a duration. */
const TIME_STEPS = 10;
/** Listing the keys of a map, for each of them. */
const STEPS_PER_KEY = 2;

/** Charges for `node`, which gave `value`; `last` is the value that was evaluated before it. */
export function chargeFor(node: ASTNode, value: unknown, last: unknown, budget: Budget): void {
  switch (node.op) {
    case 'list':
      budget.charge(2 + node.args.length);
      chargeMade(value, budget);
      break;
    case 'map':
      budget.charge(3 + 3 * node.args.length);
      chargeMade(value, budget);
      break;
    case '+':
      chargeMade(value, budget);
      break;
    case '==':
    case '!=':
      budget.charge(Math.floor(weigh(last) / WEIGHT_PER_STEP));
      break;
    case 'in':
      if (Array.isArray(last)) budget.charge(Math.floor(weigh(last) / WEIGHT_PER_STEP));
      break;
    case 'call':
      chargeCall(node.args[0], node.args[1].length, last, budget);
      chargeMade(value, budget);
      break;
    case 'rcall':
      chargeCall(node.args[0], node.args[2].length, last, budget);
      chargeMade(value, budget);
      break;
    default:
      break;
  }
  if ((node as MarkedNode).isRange === true) budget.charge(keysOf(value) * STEPS_PER_KEY);
}

function chargeMade(value: unknown, budget: Budget): void {
  if (typeof value === 'string') chargeText(value.length, budget);
  else if (typeof value === 'object' && value !== null) {
    if (Array.isArray(value)) budget.charge(value.length >> 1);
    if (weigh(value) > MAX_WEIGHT) budget.exhaust();
  }
}

/** Charges for a text of this length. */
export function chargeText(length: number, budget: Budget): void {
  if (length > MAX_TEXT) budget.exhaust();
  budget.charge(Math.floor(length / CHARS_PER_STEP));
}

function chargeCall(name: string, argumentCount: number, last: unknown, budget: Budget): void {
  if (typeof last === 'string') budget.charge(Math.floor(last.length / (name === 'size' || name === 'split' ? 4 : CHARS_PER_STEP)));
  else if (name === 'size') budget.charge(keysOf(last) * STEPS_PER_KEY);
  if (name === 'timestamp' || name === 'duration') budget.charge(TIME_STEPS);
  else if (name.startsWith('get') && argumentCount > 0) budget.charge(TIME_ZONE_STEPS);
}

/** Keys of a map; 0 of anything else. */
function keysOf(value: unknown): number {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array) return 0;
  return Math.floor(weigh(value) / 2);
}

type MarkedNode = ASTNode & { isRange?: boolean };

/** Marks the range of a loop: looping over a map lists its keys first, each time. A mark on the node itself, since a look-up would cost as much as a step. */
export function markRange(node: ASTNode): void {
  (node as MarkedNode).isRange = true;
}
