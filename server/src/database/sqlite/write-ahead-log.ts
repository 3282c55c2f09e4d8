/**
 * How long the write-ahead log of a file is, from its index, the `-shm` file: the log's own size says how long
 * it has ever been. Format: https://www.sqlite.org/walformat.html#the_wal_index_file_format
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { endianness } from 'node:os';

/** Where the header has `mxFrame`, in the byte order of the machine. */
const FRAMES_AT = 16;

/** Frames in the log of a database file; 0 when it has none, or cannot be looked at. */
export function framesInLog(databasePath: string): number {
  let file: number;
  try {
    file = openSync(`${databasePath}-shm`, 'r');
  } catch {
    return 0;
  }
  try {
    const bytes = Buffer.alloc(4);
    if (readSync(file, bytes, 0, 4, FRAMES_AT) < 4) return 0;
    return endianness() === 'LE' ? bytes.readUInt32LE() : bytes.readUInt32BE();
  } catch {
    return 0;
  } finally {
    closeSync(file);
  }
}
