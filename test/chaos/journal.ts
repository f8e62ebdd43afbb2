/**
 * The whole journal of a run, as PostgreSQL has it at the end: every batch that was ever committed, whatever checkpoints made of it; and the states that a coordinator, the
 * archive and a checkpoint would give back.
 *
 * Invariant: what is read here is proven by its checksums and by the chain over all batches, or the reading rejects.
 */
import { createHash } from 'node:crypto';
import type { DurableEvent, WorkflowState } from '@workflow-orchestrator/engine/machine';
import { readShard } from '../../coordinator/shard/recovery.ts';
import { chainAfter, EntryReader } from '../../coordinator/store/journal.ts';
import { openPostgresStore } from '../../coordinator/store/postgres/postgres.ts';
import type { CommittedBatch } from '../checkers/evidence.ts';
import { fold } from '../engine-support/snapshots.ts';
import { connect } from '../store-support/databases.ts';

/** What a database holds at the end. */
export interface Remains {
  readonly journal: readonly CommittedBatch[];
  /** By the way of reading, a digest of the state of each workflow. */
  readonly digests: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** What is not as it should be, in words. */
  readonly problems: readonly string[];
}

const PAGE = 1_000;

/** Reads all of it. */
export async function readRemains(url: string): Promise<Remains> {
  const store = await openPostgresStore({ url });
  const sql = connect(url);
  try {
    const reader = new EntryReader({ definitions: (hashes) => store.definitionsByHash(hashes), payloads: null });
    const problems: string[] = [];
    const journal: CommittedBatch[] = [];
    let chain = 0;
    for (let after = 0; ; ) {
      const rows = await sql`
        select seq_from, seq_to, epoch, codec, crc, chain, body from journal where shard_id = 0 and seq_to > ${after} order by seq_to limit ${PAGE}`;
      for (const { seq_from, seq_to, epoch, codec, crc, chain: written, body } of rows) {
        const batch = await reader.readBatch({ codec, crc, body: new Uint8Array(body) }, seq_from, seq_to);
        journal.push({ ...batch, epoch, term: '' });
        chain = chainAfter(chain, body);
        if (chain !== written) problems.push(`the chain breaks at batch ${seq_from}-${seq_to}`);
        chain = written;
      }
      if (rows.length === 0) break;
      after = rows.at(-1)!.seq_to;
    }
    const [shard] = await sql`select last_seq, chain from shard where shard_id = 0`;
    const lastSeq = journal.at(-1)?.lastSeq ?? 0;
    if (shard?.last_seq !== lastSeq) problems.push(`the fence is at event ${shard?.last_seq}, the journal ends at ${lastSeq}`);
    if (shard?.chain !== chain) problems.push('the chain of the fence is not that of the journal');

    const { workflows } = await readShard(store, { epoch: 0, termId: '', lastSeq });
    const recovered = new Map(workflows.map(({ state }) => [state.id, stateDigest(state)]));
    const archived = new Map<string, string>();
    const ended = await sql`select id from workflow where shard_id = 0 and history is not null order by id`;
    for (const { id } of ended) archived.set(id, digestOf((await store.archive.get(id))?.events ?? []));
    return {
      journal,
      problems,
      digests: new Map([
        ['checkpoint and tail', recovered],
        ['archive', archived],
      ]),
    };
  } finally {
    await sql.end({ timeout: 2 });
    await store.close();
  }
}

/** How many workflows the archive has, ended and not. */
export async function archivedCounts(url: string): Promise<{ readonly ended: number; readonly open: number }> {
  const sql = connect(url);
  try {
    const [row] =
      await sql`select count(*) filter (where ended_at is not null) as ended, count(*) filter (where ended_at is null) as open from workflow`;
    return { ended: Number(row?.ended), open: Number(row?.open) };
  } finally {
    await sql.end({ timeout: 2 });
  }
}

/** Of the state that some events make. */
export function digestOf(events: readonly DurableEvent[]): string {
  return events.length === 0 ? 'nothing' : stateDigest(fold(events));
}

function stateDigest(state: WorkflowState): string {
  const plain = JSON.stringify({ ...state, graph: state.graph.hash }, (_, value) => {
    return value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value;
  });
  return createHash('sha1').update(plain).digest('base64');
}
