/**
 * The thread that writes: an entry file of its own, started by `store-thread.ts`.
 *
 * Invariants
 * 1. Commits, ownership and definitions go in the order in which they came, before everything else: what may wait runs in pieces, and after each the port is looked at.
 * 2. Every call is answered, or the thread has died. After an error of the disk nothing is written before the file was opened anew.
 * 3. The log is written back by the reader; here only what came meanwhile, so that the log can begin again at its start.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { archive, retire } from './archive-writes.ts';
import type { Call, ThreadData, ThreadMessage, WriterCalls } from './calls.ts';
import { Database } from './database.ts';
import { failureOf } from './failure.ts';
import { acquire, checkpoint, commit, look, putDefinition, reclaim, release } from './tenure-writes.ts';
import { upkeep } from './upkeep.ts';

/** Pages of the log that are not written back, from which on the reader is asked to; and from which on that is not waited for any longer. */
const LOG_PAGES = 1_000;
const LOG_PAGES_MOST = 16_000;
/** What the reader leaves is written back here when it is no more than this. */
const REST_PAGES = 200;
/** Transactions between two looks at the log. */
const LOOK_EVERY = 16;

type Now = { [K in keyof WriterCalls]?: (db: Database, request: WriterCalls[K][0]) => WriterCalls[K][1] };
type Later = { [K in keyof WriterCalls]?: (db: Database, request: WriterCalls[K][0]) => Generator<undefined, WriterCalls[K][1]> };
const NOW: Now = { acquire, look, release, reclaim, commit, putDefinition, writtenBack };
const LATER: Later = { checkpoint, archive, retire };

interface Work {
  /** Null: nobody asked for it. */
  readonly id: number | null;
  readonly steps: Generator<undefined, unknown>;
}

const port = parentPort!;
const { path } = workerData as ThreadData;
const now: Call[] = [];
const later: Work[] = [];
let db: Database;
let isBroken = false;
let isEnding = false;
let isUpkeepDue = true;
let isUpkeepRunning = false;
let sinceLook = 0;
/** Pages of the log from which on something is done about it. */
let nextWriteBack = LOG_PAGES;

function say(message: ThreadMessage): void {
  port.postMessage(message);
}

function accept(call: Call | 'close'): void {
  if (call === 'close') {
    isEnding = true;
  } else if (call.kind in LATER) {
    const start = LATER[call.kind as keyof Later] as (db: Database, request: unknown) => Generator<undefined, unknown>;
    later.push({ id: call.id, steps: start(db, call.request) });
  } else {
    now.push(call);
  }
}

/** Runs one transaction's worth. A failure that says that the disk is not to be trusted makes the next one open the file anew. */
function guarded<T>(run: () => T): T {
  try {
    if (isBroken) {
      db.reopen();
      isBroken = false;
    }
    return run();
  } catch (error) {
    if (failureOf(error).isDiskError) isBroken = true;
    throw error;
  }
}

function answerNow({ id, kind, request }: Call): void {
  try {
    const run = NOW[kind as keyof Now] as (db: Database, request: unknown) => unknown;
    const value = guarded(() => run(db, request));
    say({ kind: 'answer', id, value });
  } catch (error) {
    say({ kind: 'failed', id, failure: failureOf(error) });
  }
}

/** One piece of what may wait. */
function stepLater(work: Work): void {
  try {
    const { done, value } = guarded(() => work.steps.next());
    if (done !== true) {
      later.push(work);
      return;
    }
    if (work.id === null) say({ kind: 'upkeep', failure: null });
    else say({ kind: 'answer', id: work.id, value });
    if (work.id !== null) isUpkeepDue = true;
  } catch (error) {
    const failure = failureOf(error);
    say(work.id === null ? { kind: 'upkeep', failure } : { kind: 'failed', id: work.id, failure });
  }
  if (work.id === null) isUpkeepRunning = false;
}

function lookAtLog(): void {
  const { pages, writtenBack } = db.log();
  if (pages < LOG_PAGES) nextWriteBack = LOG_PAGES;
  if (pages < nextWriteBack) return;
  nextWriteBack = pages + LOG_PAGES;
  if (pages - writtenBack < LOG_PAGES_MOST) say({ kind: 'logGrew' });
  else db.writeBack(false);
}

function writtenBack(): null {
  const log = db.log();
  if (log.pages - log.writtenBack <= REST_PAGES) db.writeBack(false);
  else if (log.pages >= LOG_PAGES) say({ kind: 'logGrew' });
  return null;
}

/** Works until nothing is left. */
function work(): void {
  for (;;) {
    for (let got = receiveMessageOnPort(port); got !== undefined; got = receiveMessageOnPort(port)) accept(got.message as Call | 'close');
    const call = now.shift();
    if (call !== undefined) {
      answerNow(call);
    } else if (later.length > 0) {
      const next = later.shift()!;
      // What nobody asked for goes on at the next start.
      if (next.id !== null || !isEnding) stepLater(next);
    } else if (isUpkeepDue && !isUpkeepRunning && !isEnding) {
      isUpkeepDue = false;
      isUpkeepRunning = true;
      later.push({ id: null, steps: upkeep(db) });
      continue;
    } else {
      return;
    }
    if (++sinceLook >= LOOK_EVERY) {
      sinceLook = 0;
      try {
        guarded(lookAtLog);
      } catch (error) {
        say({ kind: 'upkeep', failure: failureOf(error) });
      }
    }
  }
}

/** All that was asked for is answered; at the end the log is left empty where nobody reads. */
function run(): void {
  work();
  if (!isEnding) return;
  try {
    db.writeBack(true);
  } catch {
    // It is written back at the next start.
  }
  db.close();
  port.close();
}

try {
  db = new Database(path);
  db.prepare();
  say({ kind: 'ready' });
  port.on('message', (call: Call | 'close') => {
    accept(call);
    run();
  });
  run();
} catch (error) {
  say({ kind: 'cannot', message: failureOf(error).message });
  port.close();
}
