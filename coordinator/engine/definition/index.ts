/**
 * Workflow definitions: YAML text to a checked, compiled graph. Pure: no clock, no IO, the same text always gives the same answer.
 */
export { type Compiled, compile } from './compile.ts';
export { formatDuration, parseDuration } from './duration.ts';
export type * from './graph.ts';
export { decodePayload, JSON_ENCODING, jsonDepthFits, jsonPayload, readPayload } from './payload.ts';
export { MAX_PROBLEMS, type Rule, rules } from './problem.ts';
