/**
 * Where a figure was measured, and what else went on: the machine, its versions, and a meter of one
 * process (CPU seconds, peak memory), of CPU time that the host took away, and of CPU time that
 * other processes used. Reads Linux' /proc; elsewhere the meter says null.
 *
 * It names neither the host nor any path, because results are committed.
 */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs';
import { arch, cpus, platform, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

export interface Environment {
  /** UTC, ISO 8601. */
  date: string;
  commit: string;
  /** Changed files in server/ or contracts/: the commit alone does not say what ran. */
  isDirty: boolean;
  cpu: string;
  cores: number;
  memoryGigabytes: number;
  platform: string;
  kernel: string;
  node: string;
  sqlite: string;
  /** Of the data directory. On tmpfs a durable write costs nothing, and the figures mean nothing. */
  filesystem: string;
  /** Median of a 4 KiB write and fdatasync in the data directory: what durability costs here. */
  fdatasyncMicroseconds: number;
}

export interface MeterReading {
  seconds: number;
  /** CPU time taken by other guests of the host, as a share of all of this machine's. */
  stolenShare: number | null;
  /** CPU time of processes that do not belong to the benchmark, likewise. */
  otherShare: number | null;
  /** Of the process measured, all its threads. Null without /proc, as the others are. */
  cpuSeconds: number | null;
  /** Largest resident memory seen; sampled. */
  rssPeakBytes: number | null;
}

/** Ticks of /proc per second: USER_HZ, 100 on every Linux since 2.6 whatever the kernel's HZ. */
const ticksPerSecond = 100;
const sampleMs = 250;

// The magic numbers of statfs(2) that a benchmark is likely to meet.
const filesystems: Record<number, string> = {
  61267: 'ext4',
  1481003842: 'xfs',
  2435016766: 'btrfs',
  16914836: 'tmpfs',
  2035054128: 'overlayfs',
  801189825: 'zfs',
};

function git(checkout: string, ...args: string[]): string {
  try {
    return execFileSync('git', args, { cwd: checkout, encoding: 'utf8', stdio: 'pipe' }).trim();
  } catch {
    return '';
  }
}

function sqliteVersion(): string {
  const database = new DatabaseSync(':memory:');
  try {
    return String(database.prepare('SELECT sqlite_version() AS version').get()?.version);
  } finally {
    database.close();
  }
}

function measureFdatasync(directory: string): number {
  const path = join(directory, `fdatasync-${process.pid}`);
  const file = openSync(path, 'w');
  const page = Buffer.alloc(4096, 7);
  const times: number[] = [];
  try {
    for (let k = 0; k < 200; k++) {
      const startMs = performance.now();
      writeSync(file, page);
      fdatasyncSync(file);
      times.push(performance.now() - startMs);
    }
  } finally {
    closeSync(file);
    rmSync(path);
  }
  return Math.round((times.toSorted((a, b) => a - b)[100] as number) * 1000);
}

/** `checkout` is a directory in the checkout that is measured. */
export function describeEnvironment(dataRoot: string, checkout: string): Environment {
  const code = [':/server', ':/contracts', ':(exclude,top)server/bench/results'];
  const type = statfsSync(dataRoot).type;
  return {
    date: new Date().toISOString(),
    commit: git(checkout, 'rev-parse', '--short=12', 'HEAD') || 'unknown',
    isDirty: git(checkout, 'status', '--porcelain', '--', ...code).length > 0,
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGigabytes: Math.round(totalmem() / 2 ** 30),
    platform: `${platform()} ${arch()}`,
    // Only the version: what distributions and hosts append to it names them.
    kernel: /^\d+\.\d+(\.\d+)?/.exec(release())?.[0] ?? 'unknown',
    node: process.versions.node,
    sqlite: sqliteVersion(),
    filesystem: filesystems[type] ?? `type 0x${type.toString(16)}`,
    fdatasyncMicroseconds: measureFdatasync(dataRoot),
  };
}

/** CPU seconds of all cores since boot, and how many of them the host gave to others. */
function readMachine(): { total: number; stolen: number } | null {
  try {
    const line = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0] as string;
    // user nice system idle iowait irq softirq steal; guest times are contained in user and nice.
    const ticks = line.split(/\s+/).slice(1, 9).map(Number);
    const total = ticks.reduce((sum, value) => sum + value, 0);
    return { total: total / ticksPerSecond, stolen: (ticks[7] ?? 0) / ticksPerSecond };
  } catch {
    return null;
  }
}

interface ProcessTimes {
  parent: number;
  cpuSeconds: number;
  /** Of its children that have ended, and theirs. */
  endedSeconds: number;
}

function readProcess(pid: number | string): ProcessTimes | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may contain spaces. Behind it: state, parent, …, times from the 12th.
    const fields = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    const [user = 0, system = 0, endedUser = 0, endedSystem = 0] = fields.slice(11, 15);
    return {
      parent: fields[1] as number,
      cpuSeconds: (user + system) / ticksPerSecond,
      endedSeconds: (endedUser + endedSystem) / ticksPerSecond,
    };
  } catch {
    // The process is gone, or there is no /proc.
    return null;
  }
}

/**
 * CPU seconds of all processes that are neither this one, nor descend from it, nor are the kernel's
 * (whose threads mostly work for us: flushing what was written). With those of ended children, so
 * that a process which begins and ends between two readings is not overlooked.
 */
function readOthers(): number {
  const all = new Map<string, ProcessTimes>();
  for (const name of existsSync('/proc') ? readdirSync('/proc') : []) {
    const times = /^\d+$/.test(name) ? readProcess(name) : null;
    if (times !== null) all.set(name, times);
  }
  const kernel = '2';
  const isOurs = (name: string): boolean => {
    if (name === String(process.pid) || name === kernel) return true;
    const parent = all.get(name)?.parent ?? 0;
    return parent > 0 && isOurs(String(parent));
  };
  let seconds = 0;
  for (const [name, { cpuSeconds, endedSeconds }] of all) {
    if (!isOurs(name)) seconds += cpuSeconds + endedSeconds;
  }
  return seconds;
}

/** CPU seconds of all threads of a process so far; null if it is gone. */
export function readCpuSeconds(pid: number): number | null {
  return readProcess(pid)?.cpuSeconds ?? null;
}

function readRssBytes(pid: number): number | null {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024 || null;
  } catch {
    return null;
  }
}

/** Measures process `pid` and the machine from now to `stop`. */
export function startMeter(pid: number): { stop(): MeterReading } {
  const startMs = performance.now();
  const machine = readMachine();
  const others = readOthers();
  const cpuSeconds = readCpuSeconds(pid);
  let rssPeakBytes = readRssBytes(pid);
  const timer = setInterval(() => {
    rssPeakBytes = Math.max(rssPeakBytes ?? 0, readRssBytes(pid) ?? 0) || null;
  }, sampleMs);
  timer.unref();
  return {
    stop() {
      clearInterval(timer);
      const seconds = (performance.now() - startMs) / 1000;
      const [cpuNow, machineNow] = [readCpuSeconds(pid), readMachine()];
      const otherSeconds = Math.max(0, readOthers() - others);
      const total = (machineNow?.total ?? 0) - (machine?.total ?? 0);
      const stolen = (machineNow?.stolen ?? 0) - (machine?.stolen ?? 0);
      return {
        seconds,
        stolenShare: total > 0 ? stolen / total : null,
        otherShare: total > 0 ? otherSeconds / total : null,
        cpuSeconds: cpuSeconds !== null && cpuNow !== null ? cpuNow - cpuSeconds : null,
        rssPeakBytes,
      };
    },
  };
}
