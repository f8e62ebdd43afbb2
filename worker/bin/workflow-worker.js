#!/usr/bin/env node
/**
 * Launcher of the stock worker: plain JavaScript that any Node can read. In the project's own tree it runs the sources with the Node
 * that the project brings along, elsewhere what was built.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';

const place = (path) => fileURLToPath(new URL(path, import.meta.url));
const [major, minor] = process.versions.node.split('.').map(Number);
const sources = place('../main.ts');
const built = place('../dist/main.js');

function refuse(message) {
  process.stderr.write(`worker: ${message}\n`);
  process.exit(2);
}

// Node strips no types below node_modules: an installed package has only its build.
if (existsSync(sources) && !/[\\/]node_modules[\\/]/.test(sources)) {
  const own = place(`../../node_modules/.bin/node${process.platform === 'win32' ? '.cmd' : ''}`);
  if (existsSync(own)) run(own, ['--conditions=workflow-orchestrator', sources]);
  else if (major > 22 || (major === 22 && minor >= 18)) run(process.execPath, ['--conditions=workflow-orchestrator', sources]);
  else refuse(`Node ${process.versions.node} cannot run the sources: npm install brings one that can, or use Node 22.18 or newer`);
} else if (major < 22 || (major === 22 && minor < 19)) {
  refuse(`Node ${process.versions.node} is too old: the stock worker needs Node 22.19 or newer`);
} else if (existsSync(built)) {
  run(process.execPath, [built]);
} else {
  refuse('this package is not built: npm run build');
}

/** Runs the program in this one's place: same streams, signals passed on, same end. The channel ends it when this process is killed. */
function run(node, args) {
  const child = spawn(node, [...args, ...process.argv.slice(2)], {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    shell: process.platform === 'win32',
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => refuse(`cannot start ${node}: ${error.message}`));
  child.on('exit', (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)));
}
