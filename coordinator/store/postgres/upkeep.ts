/**
 * What is done now and then: partitions made ahead of time, old ones dropped, large values that nothing names any more deleted.
 *
 * Nothing waits for it but a write that finds its partition missing. Several coordinators may do it at once.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import { dateOf } from './archive-row.ts';
import type { Database } from './database.ts';
import { messageOf } from './failure.ts';
import { deletePayloads } from './payload.ts';
import { statement } from './statement.ts';

const makeStatement = statement('select make_partitions($1, $2::date, $3::date) as made');
const dropStatement = statement('select drop_expired_partition($1, $2) as dropped');
const daysStatement = statement(`
select case when c.relname ~ '_[0-9]{8}$' then to_date(right(c.relname, 8), 'YYYYMMDD') - date '1970-01-01' end as day
from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = $1::regclass`);
const todayStatement = statement(`select (clock_timestamp() at time zone 'utc')::date - date '1970-01-01' as today`);

const DAYS_AHEAD = 7;
const EVERY_MS = 3_600_000;
/** Partitions dropped in one go; the rest an hour later. */
const DROPPED_AT_ONCE = 50;

export class Upkeep {
  readonly #database: Database;
  readonly #retentionDays: number;
  /** Days, since 1970, whose partition of `workflow` is known to be there. */
  #workflowDays: ReadonlySet<number> = new Set();
  #timer: NodeJS.Timeout | null = null;
  #isClosed = false;
  #cleaning: Promise<void> | null = null;

  constructor(database: Database, retentionDays: number) {
    this.#database = database;
    this.#retentionDays = retentionDays;
  }

  /** Makes what is missing now, and does all of it every hour from then on. Rejects when partitions cannot be made. */
  async start(): Promise<void> {
    await this.makeAhead();
    const timer = setInterval(() => {
      this.run().catch((error: unknown) =>
        this.#database.log('warn', `PostgreSQL: partitions: ${messageOf(error)}; tried again in an hour`),
      );
    }, EVERY_MS);
    timer.unref();
    this.#timer = timer;
    this.clean().catch((error: unknown) => {
      if (!this.#isClosed) this.#database.log('warn', `PostgreSQL: what is old is kept for now: ${messageOf(error)}`);
    });
  }

  stop(): void {
    this.#isClosed = true;
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  /** Everything, once. */
  async run(): Promise<void> {
    await this.makeAhead();
    await this.clean();
  }

  /** Partitions of both tables from yesterday to a week ahead. */
  async makeAhead(): Promise<void> {
    const [row] = await this.#database.ask(todayStatement());
    const today = row!.today as number;
    for (const parent of ['journal', 'workflow']) {
      await this.#database.ask(makeStatement(parent, dateOf(today - 1), dateOf(today + DAYS_AHEAD)));
    }
    await this.#learnDays();
  }

  /** The partitions of `workflow` for these days, where they are missing. `isSure`: one is, though it was known to be there: another coordinator dropped it. */
  async makeWorkflowDays(days: readonly number[], isSure: boolean): Promise<void> {
    for (const day of days) {
      if (!isSure && this.#workflowDays.has(day)) continue;
      await this.#database.ask(makeStatement('workflow', dateOf(day), dateOf(day)));
      this.#workflowDays = new Set([...this.#workflowDays, day]);
    }
  }

  /** Another one may have dropped a partition that was known. */
  async #learnDays(): Promise<void> {
    const rows = await this.#database.ask(daysStatement('workflow'));
    this.#workflowDays = new Set(rows.map(({ day }) => day as number));
  }

  /** Drops and deletes what is old, once at a time. */
  clean(): Promise<void> {
    this.#cleaning ??= this.#clean().finally(() => {
      this.#cleaning = null;
    });
    return this.#cleaning;
  }

  async #clean(): Promise<void> {
    for (const parent of ['journal', 'workflow']) {
      for (let dropped = 0; dropped < DROPPED_AT_ONCE && !this.#isClosed; dropped++) {
        const [row] = await this.#database.ask(dropStatement(parent, this.#retentionDays), limits.storeCallMs * 3);
        if (typeof row?.dropped !== 'string') break;
        this.#database.log('info', `PostgreSQL: dropped ${row.dropped}: nothing in it is needed after ${this.#retentionDays} days`);
      }
    }
    await this.#learnDays();
    if (!this.#isClosed) await deletePayloads(this.#database, this.#retentionDays);
  }
}
