/**
 * Which server answers. A copy that takes over begins a history of its own (a timeline), even where it lacks nothing that a fence looks at: a definition,
 * a row of the archive. Whoever owned the shard on the server before reads everything anew.
 *
 * Invariant: servers that cannot be told apart (some managed ones do not say where their log stands) have the same, empty, name.
 */
import { isRefusal } from './failure.ts';
import type { Row } from './link.ts';

const TIMELINE = 'select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) as timeline';

/** The name of the timeline that `ask` leads to. Rejects when there is no answer. */
export async function timelineOf(ask: (text: string) => Promise<readonly Row[]>): Promise<string> {
  try {
    const [row] = await ask(TIMELINE);
    return (row?.timeline as string | undefined) ?? '';
  } catch (error) {
    if (isRefusal(error)) return '';
    throw error;
  }
}
