/**
 * Reads the JSON Schema of a template's data before Ajv does: how large it is, with every
 * `$ref` replaced by what it leads to, and what in it is not allowed. Whether it is a valid
 * schema, Ajv says.
 */
import type { FieldError } from '../errors.ts';
import { compilePattern } from './pattern.ts';

export const SCHEMA_LIMITS = {
  /** Schemas, names and values in the schema as it is written; Ajv takes about 50 µs to compile each. */
  size: 1000,
  /** The same with references replaced: ten that each name the next one twice make a thousand. */
  expandedSize: 10_000,
  depth: 24,
} as const;

/** Keywords whose value is a schema, a list of schemas, and schemas by name. */
const SCHEMA_KEYWORDS = new Set([
  ...['items', 'contains', 'additionalProperties', 'propertyNames', 'not', 'if', 'then', 'else'],
  ...['unevaluatedItems', 'unevaluatedProperties'],
]);
const LIST_KEYWORDS = new Set(['allOf', 'anyOf', 'oneOf', 'prefixItems']);
const NAMED_KEYWORDS = new Set(['properties', 'patternProperties', 'dependentSchemas']);
const DEFINITIONS = new Set(['$defs', 'definitions']);
/** What gives a schema another name or meaning than its place and draft 2020-12 do. */
const REFUSED = new Set([
  ...['$id', 'id', '$anchor', '$dynamicAnchor', '$dynamicRef', '$recursiveAnchor'],
  ...['$recursiveRef', '$vocabulary', '$async', 'dependencies'],
]);
const DIALECT = /^https:\/\/json-schema\.org\/draft\/2020-12\/schema#?$/;

export interface SchemaReading {
  /** Rules there are to check for one value, at most. */
  size: number;
  faults: FieldError[];
}

/** Never throws. Paths begin with `variables`. */
export function readSchema(schema: unknown, formats: ReadonlySet<string>): SchemaReading {
  const reader = new SchemaReader(schema, formats);
  const size = reader.read();
  return { size, faults: reader.faults };
}

type Path = readonly string[];

class SchemaReader {
  readonly faults: FieldError[] = [];
  readonly #root: unknown;
  readonly #formats: ReadonlySet<string>;
  readonly #definitions = new Map<string, number | 'being read'>();
  #written = 0;

  constructor(schema: unknown, formats: ReadonlySet<string>) {
    this.#root = schema;
    this.#formats = formats;
  }

  read(): number {
    const size = this.#schema(this.#root, ['variables']);
    if (this.#written > SCHEMA_LIMITS.size) {
      this.faults.splice(0);
      this.#fault(['variables'], `has more than ${SCHEMA_LIMITS.size} schemas, names and values`);
    } else if (size > SCHEMA_LIMITS.expandedSize) {
      this.#fault(['variables'], 'is too large once its references are replaced');
    }
    return size;
  }

  /** The expanded size of the schema. */
  #schema(schema: unknown, path: Path): number {
    if (!this.#begin(path)) return 1;
    if (typeof schema === 'boolean') return 1;
    if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) {
      this.#fault(path, 'must be a schema: an object or a boolean');
      return 1;
    }
    let size = 1;
    for (const [keyword, value] of Object.entries(schema)) {
      size += this.#keyword(keyword, value, [...path, keyword]);
    }
    return size;
  }

  #keyword(keyword: string, value: unknown, path: Path): number {
    if (REFUSED.has(keyword)) this.#fault(path, 'is not supported');
    if (keyword === '$ref') return this.#reference(value, path);
    if (keyword === '$schema') return this.#dialect(value, path);
    if (keyword === 'format') this.#format(value, path);
    if (keyword === 'pattern') this.#pattern(value, path);
    if (SCHEMA_KEYWORDS.has(keyword)) return this.#schema(value, path);
    if (LIST_KEYWORDS.has(keyword) && Array.isArray(value)) {
      return value.reduce((sum, item, i) => sum + this.#schema(item, [...path, String(i)]), 1);
    }
    if (NAMED_KEYWORDS.has(keyword)) return this.#named(keyword, value, path);
    if (DEFINITIONS.has(keyword)) {
      this.#named(keyword, value, path);
      return 1;
    }
    return this.#value(value, path);
  }

  #named(keyword: string, value: unknown, path: Path): number {
    if (typeof value !== 'object' || value === null) return this.#value(value, path);
    let size = 1;
    for (const [name, schema] of Object.entries(value)) {
      const inner = [...path, name];
      if (keyword === 'patternProperties') this.#pattern(name, inner);
      size += 1 + this.#schema(schema, inner);
    }
    return size;
  }

  #reference(value: unknown, path: Path): number {
    const match = /^#\/(\$defs|definitions)\/([\w.-]+)$/.exec(String(value));
    const [, keyword, name] = match ?? [];
    const definitions = own(this.#root, keyword);
    const definition = own(definitions, name);
    if (match === null || definition === undefined) {
      this.#fault(path, 'must lead to a schema in $defs: `#/$defs/name`');
      return 1;
    }
    const target = `${keyword}/${name}`;
    const known = this.#definitions.get(target);
    if (known === 'being read') this.#fault(path, 'leads back to where it stands');
    if (known !== undefined) return known === 'being read' ? 1 : known;
    this.#definitions.set(target, 'being read');
    const size = this.#schema(definition, ['variables', keyword as string, name as string]);
    this.#definitions.set(target, size);
    return size;
  }

  #dialect(value: unknown, path: Path): number {
    if (path.length > 2 || typeof value !== 'string' || !DIALECT.test(value)) {
      this.#fault(path, 'must be that of draft 2020-12, at the top');
    }
    return 1;
  }

  #format(value: unknown, path: Path): void {
    if (typeof value === 'string' && !this.#formats.has(value)) {
      this.#fault(path, `must be one of ${[...this.#formats].join(', ')}`);
    }
  }

  #pattern(value: unknown, path: Path): void {
    if (typeof value !== 'string') return;
    try {
      compilePattern(value);
    } catch (error) {
      this.#fault(path, (error as Error).message);
    }
  }

  /** A value that is no schema: `enum`, `const`, `required`, `minLength` … */
  #value(value: unknown, path: Path): number {
    if (!this.#begin(path)) return 1;
    if (typeof value !== 'object' || value === null) return 1;
    let size = 1;
    for (const [key, member] of Object.entries(value)) size += this.#value(member, [...path, key]);
    return size;
  }

  /** Counts one more; false when there are too many, or too deep, to go on. */
  #begin(path: Path): boolean {
    this.#written += 1;
    if (this.#written > SCHEMA_LIMITS.size) return false;
    if (path.length <= SCHEMA_LIMITS.depth) return true;
    this.#fault(path, `is nested deeper than ${SCHEMA_LIMITS.depth}`);
    return false;
  }

  #fault(path: Path, message: string): void {
    const fault = { path: path.join('.'), message };
    // A definition is read where it stands and where it is first named.
    if (!this.faults.some((other) => other.path === fault.path)) this.faults.push(fault);
  }
}

function own(object: unknown, key: string | undefined): unknown {
  if (typeof object !== 'object' || object === null || key === undefined) return undefined;
  return Object.hasOwn(object, key) ? object[key as keyof typeof object] : undefined;
}
