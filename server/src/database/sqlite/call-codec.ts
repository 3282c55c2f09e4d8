/**
 * Calls as they cross from a thread to the writer: one flat list. Cloning costs by the object more
 * than by the value, and a call is two arrays or, with rows in it, one more for each.
 */
import type { Call } from './group-writer.ts';

/** Stands where the number of rows would: the argument is one row. */
const ROW = -1;
/** The argument is taken as it is. */
const WHOLE = -2;

/** Of each call: its name, how many rows, how wide, and their values. */
export type PackedCalls = unknown[];

export function packCalls(calls: readonly Call[]): PackedCalls {
  const packed: PackedCalls = [];
  for (const [operation, argument] of calls) {
    if (!Array.isArray(argument)) {
      packed.push(operation, WHOLE, 1, argument);
      continue;
    }
    const width = rowWidth(argument);
    if (width === undefined) {
      packed.push(operation, ROW, argument.length);
      for (const value of argument) packed.push(value);
      continue;
    }
    packed.push(operation, argument.length, width);
    for (const row of argument) for (const value of row) packed.push(value);
  }
  return packed;
}

/** How wide the rows of an argument are; undefined when it is no list of rows of one width. */
function rowWidth(argument: readonly unknown[]): number | undefined {
  const [first] = argument;
  if (!Array.isArray(first) || first.length === 0) return undefined;
  for (const row of argument) {
    if (!Array.isArray(row) || row.length !== first.length) return undefined;
  }
  return first.length;
}

export function unpackCalls(packed: PackedCalls): Call[] {
  const calls: Call[] = [];
  let at = 0;
  while (at < packed.length) {
    const operation = packed[at++] as string;
    const rows = packed[at++] as number;
    const width = packed[at++] as number;
    if (rows === WHOLE) {
      calls.push([operation, packed[at++]]);
    } else if (rows === ROW) {
      calls.push([operation, packed.slice(at, at + width)]);
      at += width;
    } else {
      const list: unknown[] = [];
      for (let i = 0; i < rows; i++, at += width) list.push(packed.slice(at, at + width));
      calls.push([operation, list]);
    }
  }
  return calls;
}
