/**
 * The thread that reads, and that writes the log back into the file: an entry file of its own, started by `store-thread.ts`.
 *
 * Invariants
 * 1. Every answer is about one moment, at or after the last transaction that was answered before the call.
 * 2. What may be long is answered in pages, each about its own moment.
 */
import { parentPort, workerData } from 'node:worker_threads';
import type { StoredDefinition } from '../store.ts';
import type { Call, JournalRow, ListQuery, ReaderCalls, ThreadData, ThreadMessage, WorkflowRow } from './calls.ts';
import { Database } from './database.ts';
import { failureOf } from './failure.ts';

/** Rows and bytes of a page. */
const PAGE_ROWS = 1_000;
const PAGE_BYTES = 1024 * 1024;

const port = parentPort!;
const { path } = workerData as ThreadData;
let opened: Database | null = null;
/** Workflows whose checkpoints do not count any more, as of the first page of the checkpoints. */
let ended: ReadonlySet<string> = new Set();

/** Opened by the first call: by then the writer has brought the file to its format. */
function database(): Database {
  opened ??= new Database(path);
  return opened;
}

type Answers = { [K in keyof ReaderCalls]: (request: ReaderCalls[K][0]) => ReaderCalls[K][1] };

const DEFINITION = 'select hash, name, yaml, registered_at as "registeredAt" from definition';
const ENDED = 'select id as "workflowId", codec, crc, history as body from workflow';

/** Rows until the page is full. */
function page<T extends { readonly body: Uint8Array }>(rows: Iterable<unknown>): T[] {
  const found: T[] = [];
  let bytes = 0;
  for (const row of rows as Iterable<T>) {
    found.push({ ...row });
    bytes += row.body.length;
    if (found.length === PAGE_ROWS || bytes >= PAGE_BYTES) break;
  }
  return found;
}

const ANSWERS: Answers = {
  head: () =>
    ({
      ...database().sql('select last_seq as "lastSeq", chain, checkpoint_seq as "checkpointSeq" from shard').get(),
    }) as unknown as ReaderCalls['head'][1],
  journal: ({ afterSeq, untilSeq }) =>
    page<JournalRow>(
      database()
        .sql(
          'select first_seq as "firstSeq", last_seq as "lastSeq", chain, codec, crc, body from journal where last_seq > ? and last_seq <= ? order by last_seq',
        )
        .iterate(afterSeq, untilSeq),
    ),
  checkpoint: ({ afterId }) => {
    if (afterId === '') {
      const lists = database().sql('select ids from checkpoint_ended').all() as { ids: string }[];
      ended = new Set(lists.flatMap(({ ids }) => JSON.parse(ids) as string[]));
    }
    const found = page<WorkflowRow>(
      database()
        .sql('select workflow_id as "workflowId", codec, crc, body from checkpoint where workflow_id > ? order by workflow_id')
        .iterate(afterId),
    );
    const rows = found.filter(({ workflowId }) => !ended.has(workflowId));
    return { rows, isLast: found.length === 0, lastId: found.at(-1)?.workflowId ?? '' };
  },
  payloads: ({ hashes }) =>
    hashes.flatMap((hash) => {
      const row = database().sql('select body from payload where hash = ?').get(hash);
      return row === undefined ? [] : [[hash, row.body as Uint8Array] as const];
    }),
  definitions: () => database().sql(`${DEFINITION} where registered_at > 0 order by registered_at`).all().map(definition),
  definitionsByHash: ({ hashes }) =>
    hashes.flatMap((hash) => {
      const row = database().sql(`${DEFINITION} where hash = ?`).get(hash);
      return row === undefined ? [] : [definition(row)];
    }),
  workflow: ({ id }) => {
    const row = database().sql(`${ENDED} where id = ? and ended_at is not null`).get(id);
    return row === undefined ? null : ({ ...row } as unknown as WorkflowRow);
  },
  byKeys: ({ keys }) =>
    keys.flatMap((key) => {
      const row = database().sql('select id, request_hash from workflow where idempotency_key = ? order by id desc limit 1').get(key);
      return row === undefined ? [] : [[key, String(row.id), String(row.request_hash)] as const];
    }),
  list,
  openSeqs: ({ afterId }) =>
    (
      database()
        .sql('select id, seq from workflow where ended_at is null and id > ? order by id limit ?')
        .all(afterId, PAGE_ROWS * 10) as {
        id: string;
        seq: number;
      }[]
    ).map(({ id, seq }) => [id, seq] as const),
  endedAt: ({ place }) => {
    const row = database()
      .sql('select ended_at from workflow where ended_at is not null order by ended_at desc limit 1 offset ?')
      .get(place - 1);
    return row === undefined ? null : Number(row.ended_at);
  },
  writeBack: () => database().writeBack(false),
};

function definition(row: object): StoredDefinition {
  return { ...row } as StoredDefinition;
}

/** Newest first. One label leads when there is any, for there is an index for each; everything else is looked at row by row. */
function list(query: ListQuery): WorkflowRow[] {
  const [lead, ...others] = query.labels;
  const values: (string | number)[] = [];
  const and = (condition: string, ...bound: (string | number)[]): string => {
    values.push(...bound);
    return condition;
  };
  const from =
    lead === undefined
      ? 'workflow'
      : `(select workflow_id from label where ${and('key = ? and value = ?', ...lead)}) led cross join workflow on id = workflow_id`;
  const conditions = [
    'ended_at is not null',
    and('submitted_at >= ? and submitted_at < ?', query.submittedAfter, query.submittedBefore),
    ...(query.beforeId === '' ? [] : [and(`${lead === undefined ? 'id' : 'workflow_id'} < ?`, query.beforeId)]),
    ...(query.name === '' ? [] : [and('name = ?', query.name)]),
    ...(query.statuses.length === 0 ? [] : [and(`status in (${query.statuses.map(() => '?')})`, ...query.statuses)]),
    ...others.map((label) => and('exists (select 1 from label where key = ? and value = ? and workflow_id = id)', ...label)),
  ];
  const order = lead === undefined ? 'id' : 'workflow_id';
  const text = `select id as "workflowId", codec, crc, history as body from ${from} where ${conditions.join(' and ')} order by ${order} desc limit ?`;
  return database()
    .sql(text)
    .all(...values, query.limit) as unknown as WorkflowRow[];
}

function answer({ id, kind, request }: Call): void {
  let message: ThreadMessage;
  try {
    message = { kind: 'answer', id, value: ANSWERS[kind as keyof Answers](request as never) };
  } catch (error) {
    message = { kind: 'failed', id, failure: failureOf(error) };
  }
  port.postMessage(message);
}

port.on('message', (call: Call | 'close') => {
  if (call !== 'close') {
    answer(call);
    return;
  }
  opened?.close();
  port.close();
});
port.postMessage({ kind: 'ready' } satisfies ThreadMessage);
