/**
 * Whether a coordinator that is about to be started can listen: told by `wf` in one clear line, the same for every command that starts one.
 */
import { createServer } from 'node:net';
import { CommandError } from '../exit.ts';

/** Throws `CommandError` when nothing can listen there. `flag` is what chooses the port; port 0 is always free. */
export async function expectFree(host: string, port: number, flag = '--port'): Promise<void> {
  if (port === 0) return;
  const probe = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      probe.once('error', reject);
      probe.listen({ host, port, exclusive: true }, resolve);
    });
  } catch (thrown) {
    const code = thrown instanceof Error && 'code' in thrown ? thrown.code : '';
    if (code === 'EADDRINUSE') {
      throw new CommandError(`port ${port} is taken: end what listens there, or take another with ${flag} (0 finds a free one)`);
    }
    if (code === 'EACCES') throw new CommandError(`port ${port} may not be used by this user: take one above 1023 with ${flag}`);
    throw new CommandError(`cannot listen on ${host} port ${port}: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  } finally {
    await new Promise<void>((resolve) => {
      probe.close(() => resolve());
    });
  }
}
