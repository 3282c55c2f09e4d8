/**
 * A disk of a few megabytes for one program: a tmpfs in a mount namespace of its own, which the
 * kernel takes away together with the program. Needs root and unshare (util-linux).
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Tidings } from './start.ts';
import { requireTool } from './syscall-log.ts';

export interface SmallDisk extends Disposable {
  /** Command line in front of the program's: mounts the disk over `dataDir` with the ballast on it. */
  prefix: string[];
  dataDir: string;
  /** Copies what the program has on its disk, at one moment of its life. Others cannot see it. */
  copyTo(folder: string, tidings: Pick<Tidings, 'pid'>): void;
  removeBallast(tidings: Pick<Tidings, 'pid'>): void;
  freeBytes(tidings: Pick<Tidings, 'pid'>): number;
}

const SCRIPT = `
mount -t tmpfs -o size="$1" tmpfs "$2" && fallocate -l "$3" "$2/ballast" || exit 99
shift 3
exec "$@"`;

export function smallDisk({
  sizeBytes,
  ballastBytes,
}: {
  sizeBytes: number;
  ballastBytes: number;
}): SmallDisk {
  const unshare = requireTool('unshare', 'util-linux');
  requireTool('fallocate', 'util-linux');
  const own = mkdtempSync(join(tmpdir(), 'tidings-disk-'));
  const dataDir = join(own, 'data');
  mkdirSync(dataDir);
  // SQLite would follow this link by its text and end in the empty folder outside.
  const inside = ({ pid }: Pick<Tidings, 'pid'>): string =>
    join('/proc', String(pid), 'root', dataDir);
  return {
    dataDir,
    prefix: [
      unshare,
      '--mount',
      'sh',
      '-c',
      SCRIPT,
      'sh',
      String(sizeBytes),
      dataDir,
      String(ballastBytes),
    ],
    copyTo(folder, tidings) {
      process.kill(tidings.pid, 'SIGSTOP');
      try {
        cpSync(inside(tidings), folder, { recursive: true });
      } finally {
        process.kill(tidings.pid, 'SIGCONT');
      }
    },
    removeBallast(tidings) {
      const ballast = join(inside(tidings), 'ballast');
      if (!existsSync(ballast)) throw new Error('there is no ballast');
      rmSync(ballast);
    },
    freeBytes(tidings) {
      const { bavail, bsize } = statfsSync(inside(tidings));
      return bavail * bsize;
    },
    [Symbol.dispose]() {
      rmSync(own, { recursive: true, force: true });
    },
  };
}
