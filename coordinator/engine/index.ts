/**
 * The engine as a package: definitions and the workflow state machine. It runs without a server, so that files can be checked, plans made and
 * workflows tested anywhere.
 */
export * from './definition/index.ts';
export * from './machine/index.ts';
