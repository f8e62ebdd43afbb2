/**
 * Paths that jobs name, held below one folder.
 *
 * Invariants
 * 1. A path is relative, has no `..`, and is not the folder itself.
 * 2. Symbolic links on the way are resolved, and must stay below the folder; the last part of a path is never followed by what is done with it.
 */
import { lstat, realpath } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, normalize, resolve, sep } from 'node:path';
import { PermanentError } from '../errors.ts';

/**
 * Where `path` is, with no symbolic link on the way. The folder must exist; what the path names need not.
 * @throws PermanentError `PATH_REFUSED`
 */
export async function confine(folder: string, path: string): Promise<string> {
  const refuse = (why: string) => new PermanentError(`path ${JSON.stringify(path)} ${why}`, { code: 'PATH_REFUSED' });
  const plain = normalize(path).replace(/[/\\]+$/, '');
  if (path === '' || path.includes('\0')) throw refuse('is no path');
  if (isAbsolute(path) || /^[A-Za-z]:/.test(path)) throw refuse('must be relative to the data folder');
  if (plain.split(/[/\\]/).includes('..')) throw refuse('leads out of the data folder');
  if (plain === '.' || plain === '') throw refuse('is the data folder itself');

  const root = await realpath(folder);
  const wanted = resolve(root, plain);
  const parent = await realExistingParent(dirname(wanted));
  if (parent.real !== root && !parent.real.startsWith(root + sep)) throw refuse('leads out of the data folder through a symbolic link');
  return join(parent.real, parent.rest, basename(wanted));
}

/** The nearest folder above that exists, resolved, and the part below it that does not. */
async function realExistingParent(folder: string): Promise<{ readonly real: string; readonly rest: string }> {
  let rest = '';
  for (let current = folder; ; current = dirname(current)) {
    try {
      return { real: await realpath(current), rest };
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // A link to nothing is there, and would be followed by whoever creates what it names.
      const dangling = code === 'ENOENT' && (await lstat(current).catch(() => null)) !== null;
      if ((code !== 'ENOENT' && code !== 'ENOTDIR') || dangling || current === dirname(current))
        throw new PermanentError(`path ${JSON.stringify(current)} cannot be resolved (${code})`, { code: 'PATH_REFUSED', cause: error });
      rest = join(basename(current), rest);
    }
  }
}
