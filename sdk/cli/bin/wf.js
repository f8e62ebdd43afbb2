#!/usr/bin/env node
/**
 * Launcher of `wf`: plain JavaScript that any Node can read. It runs what was built, or, in the project's own tree, the sources:
 * these need a Node that strips types, which the project brings along.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';

const sources = fileURLToPath(new URL('../main.ts', import.meta.url));
const built = new URL('../../dist/cli/main.js', import.meta.url);
const [major, minor] = process.versions.node.split('.').map(Number);

/** @param {string} message */
function refuse(message) {
  process.stderr.write(`wf: ${message}\n`);
  process.exit(2);
}

// Node does not strip types of installed packages: there only the build runs.
if (existsSync(sources) && !/[\\/]node_modules[\\/]/.test(sources)) {
  const own = fileURLToPath(new URL(`../../../node_modules/.bin/node${process.platform === 'win32' ? '.cmd' : ''}`, import.meta.url));
  const stripsTypes = major > 22 || (major === 22 && minor >= 18);
  if (!existsSync(own) && !stripsTypes)
    refuse(`Node ${process.versions.node} is too old to run the sources: run npm install, or use Node 22.18 or newer`);
  runSources(existsSync(own) ? own : process.execPath);
} else if (!existsSync(built)) {
  refuse('this package is not built: npm run build');
} else if (major < 22 || (major === 22 && minor < 12)) {
  refuse(`Node ${process.versions.node} is too old: wf needs Node 22.12 or newer`);
} else {
  await import(built.href);
}

/** @param {string} node */
function runSources(node) {
  // The channel tells the child when this process is gone.
  const child = spawn(node, ['--conditions=workflow-orchestrator', sources, ...process.argv.slice(2)], {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    shell: process.platform === 'win32',
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => refuse(`cannot start ${node}: ${error.message}`));
  child.on('exit', (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)));
}
