/**
 * Processor time and memory of processes, from /proc (Linux).
 *
 * Invariant: of a tree, file and shared memory are counted once, as the largest member has them: PostgreSQL's buffers are in every backend.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** A clock tick of /proc, in milliseconds: USER_HZ is 100 on every Linux that Node runs on. */
const tickMs = 10;
/** How often memory is looked at: the driver pays for it. */
const sampleMs = 1_000;

/** A process, alone or with all that descend from it. */
export interface Watched {
  readonly pid: number;
  readonly tree: boolean;
}

/** What a process used while it was metered. */
export interface Usage {
  readonly cpu_s: number;
  /** Resident memory at its highest. */
  readonly peak_mib: number;
  /** The private part of it. */
  readonly peak_own_mib: number;
}

interface Stat {
  readonly parent: number;
  /** Milliseconds of its own, and of children that it waited for. */
  readonly cpuMs: number;
  readonly waitedMs: number;
}

function statOf(pid: number): Stat | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // Behind the name, which may hold anything: field 3 (state) is the first.
    const fields = text
      .slice(text.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    return { parent: fields[1]!, cpuMs: (fields[11]! + fields[12]!) * tickMs, waitedMs: (fields[13]! + fields[14]!) * tickMs };
  } catch {
    return null; // it has ended
  }
}

/** Resident KiB. */
function memoryOf(pid: number): { own: number; file: number; shared: number } {
  try {
    const text = readFileSync(`/proc/${pid}/status`, 'latin1');
    const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0);
    return { own: kib('RssAnon'), file: kib('RssFile'), shared: kib('RssShmem') };
  } catch {
    return { own: 0, file: 0, shared: 0 };
  }
}

/** Processes by their parent. One look at all of /proc is dear: it is taken once for all that is read of a moment. */
type Families = ReadonlyMap<number, readonly number[]>;

function families(): Families {
  const pids = readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0);
  return Map.groupBy(pids, (pid) => statOf(pid)?.parent ?? 0);
}

/** Processes whose parent is `pid`. */
export function childrenOf(pid: number): readonly number[] {
  return families().get(pid) ?? [];
}

function membersOf({ pid, tree }: Watched, all: Families): number[] {
  const members = [pid];
  if (tree) for (let i = 0; i < members.length; i++) members.push(...(all.get(members[i]!) ?? []));
  return members;
}

function cpuMsOf(watched: Watched, all: Families): number {
  let sum = 0;
  for (const pid of membersOf(watched, all)) {
    const stat = statOf(pid);
    if (stat !== null) sum += stat.cpuMs + (watched.tree ? stat.waitedMs : 0);
  }
  return sum;
}

function kibOf(watched: Watched, all: Families): { own: number; all: number } {
  let [own, file, shared] = [0, 0, 0];
  for (const pid of membersOf(watched, all)) {
    const memory = memoryOf(pid);
    own += memory.own;
    file = Math.max(file, memory.file);
    shared = Math.max(shared, memory.shared);
  }
  return { own, all: own + file + shared };
}

/** Starts to meter; the answer ends it and says what was used since. */
export function meter(processes: Readonly<Record<string, Watched>>): () => Record<string, Usage> {
  const hasTrees = Object.values(processes).some(({ tree }) => tree);
  const look = (): Families => (hasTrees ? families() : new Map());
  const first = look();
  const entries = Object.entries(processes).map(([name, watched]) => ({ name, watched, fromMs: cpuMsOf(watched, first), own: 0, all: 0 }));
  const sample = () => {
    const now = look();
    for (const entry of entries) {
      const { own, all } = kibOf(entry.watched, now);
      entry.own = Math.max(entry.own, own);
      entry.all = Math.max(entry.all, all);
    }
  };
  sample();
  const timer = setInterval(sample, sampleMs);
  return () => {
    clearInterval(timer);
    sample();
    const last = look();
    return Object.fromEntries(
      entries.map(({ name, watched, fromMs, own, all }) => {
        const cpu_s = (cpuMsOf(watched, last) - fromMs) / 1_000;
        return [name, { cpu_s, peak_mib: Math.round(all / 1_024), peak_own_mib: Math.round(own / 1_024) }];
      }),
    );
  };
}
