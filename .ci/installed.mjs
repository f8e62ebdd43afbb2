/**
 * Ends with 0 when node_modules holds what package-lock.json says, with 1 when `npm ci` has something to do.
 *
 * It compares with the list that npm itself keeps of what it installed, so a package that somebody has just added with `npm install`
 * is no reason to take everything away, perhaps from under a program that runs. Plain JavaScript: nothing is installed yet.
 */
import { existsSync, readFileSync } from 'node:fs';

/** The packages of a lock file by path, or none. */
function packagesOf(file) {
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')).packages ?? {}) : {};
}

const installed = packagesOf('node_modules/.package-lock.json');
const missing = Object.entries(packagesOf('package-lock.json')).filter(([path, wanted]) => {
  if (!path.includes('node_modules/')) return Object.keys(wanted.bin ?? {}).some((command) => !existsSync(`node_modules/.bin/${command}`));
  // What is optional may be for other machines.
  if (wanted.optional) return false;
  return !existsSync(path) || (!wanted.link && installed[path]?.version !== wanted.version);
});
process.exit(missing.length === 0 ? 0 : 1);
