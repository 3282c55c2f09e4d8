/**
 * Cuts the power at many moments of a recorded run and looks at what is left each time: is every
 * file whole, and is everything there that had been acknowledged?
 */
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Disk, seededRandom } from './power-loss.ts';
import type { Step } from './syscall-log.ts';

export interface Acknowledged {
  /** Index of the step at which the answer began to leave. */
  step: number;
  id: string;
}

/** What an image holds, as found by opening it. */
export interface Inspection {
  /** Everything that is wrong by itself: files that are not whole, rows without their others. */
  faults: string[];
  ids: ReadonlySet<string>;
}

export interface Replay {
  steps: readonly Step[];
  /** The program's data folder. */
  folder: string;
  acknowledged: readonly Acknowledged[];
  /** Ascending indices: the power goes after the step before. */
  cuts: readonly number[];
  seed: number;
  /** Threads whose failed syncs count (power-loss.ts); all when left out. */
  forgets?: (thread: number) => boolean;
  /** Files that an inspection looks at, by their paths within the folder; all when left out. */
  inspected?: (path: string) => boolean;
  /** Opens what is in the folder, and may change it. */
  inspect(image: string): Inspection;
}

export interface CutResult {
  /** Images that were opened. */
  images: number;
  /** Images, and acknowledged ids that were missing in the worst of them. */
  withLosses: number;
  mostLost: number;
  /** One line each, at most a few. */
  faults: string[];
  withFaults: number;
}

const SHOWN_FAULTS = 10;

/** Each cut twice: with nothing but what is certain, and with any of the rest, seeded per cut. */
export function replay({
  steps,
  folder,
  acknowledged,
  cuts,
  seed,
  forgets,
  inspected,
  inspect,
}: Replay): CutResult {
  const result: CutResult = { images: 0, withLosses: 0, mostLost: 0, faults: [], withFaults: 0 };
  const scratch = mkdtempSync(join(scratchRoot(), 'tidings-power-'));
  const disk = new Disk(folder, forgets);
  let applied = 0;
  let known = { state: '', inspection: undefined as Inspection | undefined };

  function look(random?: () => number): Inspection {
    const image = join(scratch, 'image');
    mkdirSync(image);
    try {
      disk.writeImage(image, random, inspected);
      result.images++;
      return inspect(image);
    } finally {
      rmSync(image, { recursive: true });
    }
  }

  function certain(): Inspection {
    const { state } = disk;
    if (known.inspection === undefined || known.state !== state)
      known = { state, inspection: look() };
    return known.inspection as Inspection;
  }

  function judge(cut: number, variant: string, inspection: Inspection): void {
    const lost = acknowledged.filter(({ step, id }) => step < cut && !inspection.ids.has(id));
    if (lost.length > 0) result.withLosses++;
    result.mostLost = Math.max(result.mostLost, lost.length);
    const faults = [
      ...inspection.faults,
      ...(lost.length > 0 ? [`${lost.length} lost, such as ${lost[0]?.id}`] : []),
    ];
    if (faults.length === 0) return;
    result.withFaults++;
    if (result.faults.length < SHOWN_FAULTS) {
      result.faults.push(
        `cut ${cut} of ${steps.length}, ${variant} (seed ${seed}): ${faults.join('; ')}`,
      );
    }
  }

  try {
    for (const cut of cuts) {
      for (; applied < cut; applied++) disk.apply(steps[applied] as Step);
      judge(cut, 'only what is certain', certain());
      judge(cut, 'some of the rest', look(seededRandom(seed + cut)));
    }
    return result;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/**
 * Moments worth cutting at: before, within and after each sync, and right after each answer began
 * to leave. Of more than `count` of them, evenly many from each part of the run, at random.
 */
export function chooseCuts(
  steps: readonly Step[],
  acknowledged: readonly Acknowledged[],
  { count, seed }: { count: number; seed: number },
): number[] {
  const moments = new Set<number>();
  steps.forEach(({ call }, i) => {
    if (call.kind !== 'sync') return;
    moments.add(i);
    moments.add(i + 1);
  });
  for (const { step } of acknowledged) moments.add(step + 1);
  const random = seededRandom(seed);
  // Beside them, moments at which nothing in particular happens: between two writes.
  while (moments.size < Math.min(steps.length, count * 1.25))
    moments.add(Math.floor(random() * steps.length) + 1);
  const sorted = [...moments].sort((a, b) => a - b);
  if (sorted.length <= count) return sorted;
  const width = sorted.length / count;
  return Array.from(
    { length: count },
    (_, i) => sorted[Math.floor((i + random()) * width)] as number,
  );
}

/** In memory where the system has such a folder: an image lives for milliseconds. */
function scratchRoot(): string {
  try {
    return statSync('/dev/shm').isDirectory() ? '/dev/shm' : tmpdir();
  } catch {
    return tmpdir();
  }
}
