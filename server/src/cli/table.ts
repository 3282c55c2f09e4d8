/** Text for terminals: columns that line up, also with Chinese text, and nothing that steers the terminal. */
import { stripVTControlCharacters } from 'node:util';

const CONTROL = /[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** Control characters (a title may hold any) as visible escapes. */
export function printable(text: string): string {
  return text.replace(CONTROL, (character) => {
    const code = character.charCodeAt(0);
    if (character === '\n') return '\\n';
    if (character === '\t') return '\\t';
    return code < 256
      ? `\\x${code.toString(16).padStart(2, '0')}`
      : `\\u${code.toString(16).padStart(4, '0')}`;
  });
}

/** The same for text of several lines, whose line breaks stay. */
export function printableLines(text: string): string {
  return text.split(/\r?\n/).map(printable).join('\n');
}

/** East Asian wide and fullwidth characters and emoji take two columns, combining marks none. */
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}|[\u{20000}-\u{3fffd}]/u;
const COMBINING = /^[\p{Mark}\u200b-\u200d]$/u;

export function displayWidth(text: string): number {
  let width = 0;
  for (const character of stripVTControlCharacters(text)) {
    if (COMBINING.test(character)) continue;
    width += WIDE.test(character) ? 2 : 1;
  }
  return width;
}

/** At most `width` columns, with an ellipsis where something was cut off. */
export function truncate(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  let kept = '';
  let used = 0;
  for (const character of text) {
    const next = displayWidth(character);
    if (used + next > width - 1) break;
    kept += character;
    used += next;
  }
  return `${kept}…`;
}

export interface TableOptions {
  /** Columns of the terminal; undefined keeps every cell whole. */
  width?: number;
  heading?: (text: string) => string;
  /** Colours a cell once it has its width. */
  cell?: (text: string, column: number) => string;
}

const GAP = '  ';
const NARROWEST = 8;

/** Without a line of headings when all of them are empty. */
export function formatTable(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  { width, heading = (text) => text, cell }: TableOptions = {},
): string {
  const cells = rows.map((row) => row.map(printable));
  const widths = headings.map((text, i) =>
    Math.max(displayWidth(text), ...cells.map((row) => displayWidth(row[i] ?? ''))),
  );
  if (width !== undefined) shrink(widths, width);
  const first = headings.every((text) => text === '') ? [] : [heading(lineOf(headings, widths))];
  const lines = [...first, ...cells.map((row) => lineOf(row, widths, cell))];
  return `${lines.join('\n')}\n`;
}

/** Takes from the widest column until the line fits, or every column is as narrow as it may be. */
function shrink(widths: number[], width: number): void {
  const total = (): number =>
    widths.reduce((sum, one) => sum + one, GAP.length * (widths.length - 1));
  for (let over = total() - width; over > 0; over--) {
    const widest = widths.indexOf(Math.max(...widths));
    if ((widths[widest] as number) <= NARROWEST) return;
    widths[widest] = (widths[widest] as number) - 1;
  }
}

function lineOf(
  cells: readonly string[],
  widths: readonly number[],
  cell: TableOptions['cell'] = (text) => text,
): string {
  const last = widths.length - 1;
  return widths
    .map((width, i) => {
      const text = truncate(cells[i] ?? '', width);
      const space = i === last ? '' : ' '.repeat(Math.max(0, width - displayWidth(text)));
      return cell(text, i) + space;
    })
    .join(GAP)
    .trimEnd();
}

/** `1 user`, `2 users` */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
