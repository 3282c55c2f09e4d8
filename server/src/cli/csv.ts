/**
 * CSV as RFC 4180 has it. Cells that a spreadsheet would take for a formula get an apostrophe in
 * front when they are written, which is taken off again when they are read.
 */

export interface CsvRow {
  /** Line of the file on which the row begins, from 1. */
  line: number;
  cells: string[];
}

const FORMULA = /^'*[=+\-@\t\r\0]/;

/** Reads text in pieces; a row is given out when its end has been seen. */
export class CsvReader {
  readonly #longest: number;
  #line = 1;
  #rowLine = 1;
  #cells: string[] = [];
  #cell = '';
  /** Length of the row so far. */
  #length = 0;
  #state: 'start' | 'plain' | 'quoted' | 'quote' = 'start';
  #afterReturn = false;

  /** @param options longest: characters of one row */
  constructor({ longest }: { longest: number }) {
    this.#longest = longest;
  }

  /** @throws RangeError `line: what is wrong` */
  *push(text: string): Generator<CsvRow> {
    for (let i = 0; i < text.length; i++) {
      const character = text[i] as string;
      if (++this.#length > this.#longest)
        throw this.#fault(`is longer than ${this.#longest} characters`);
      const afterReturn = this.#afterReturn;
      this.#afterReturn = character === '\r';
      if (character === '\n' || character === '\r') {
        const second = character === '\n' && afterReturn;
        if (!second) this.#line++;
        if (this.#state === 'quoted') this.#cell += character;
        // The second half of a line break ends an empty row, which is passed over.
        else yield* this.#endRow();
      } else this.#take(character);
    }
  }

  *end(): Generator<CsvRow> {
    if (this.#state === 'quoted') throw this.#fault('has a quote that is not closed');
    yield* this.#endRow();
  }

  #take(character: string): void {
    if (this.#state === 'quoted') {
      if (character === '"') this.#state = 'quote';
      else this.#cell += character;
    } else if (character === ',') {
      this.#endCell();
    } else if (character === '"' && this.#state === 'quote') {
      this.#cell += '"';
      this.#state = 'quoted';
    } else if (character === '"' && this.#state === 'start') {
      this.#state = 'quoted';
    } else if (this.#state === 'quote') {
      throw this.#fault('has text after a closing quote');
    } else {
      this.#cell += character;
      this.#state = 'plain';
    }
  }

  #endCell(): void {
    this.#cells.push(
      FORMULA.test(this.#cell.slice(1)) && this.#cell[0] === "'" ? this.#cell.slice(1) : this.#cell,
    );
    this.#cell = '';
    this.#state = 'start';
  }

  /** Empty lines are passed over. */
  *#endRow(): Generator<CsvRow> {
    const isEmpty = this.#cells.length === 0 && this.#cell === '' && this.#state === 'start';
    if (!isEmpty) {
      this.#endCell();
      yield { line: this.#rowLine, cells: this.#cells };
    }
    this.#cells = [];
    this.#begin();
  }

  #begin(): void {
    this.#rowLine = this.#line;
    this.#length = 0;
  }

  #fault(message: string): RangeError {
    return new RangeError(`${this.#rowLine}: the row ${message}`);
  }
}

export function csvLine(cells: readonly string[]): string {
  return `${cells.map(csvCell).join(',')}\r\n`;
}

function csvCell(text: string): string {
  const harmless = FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}
