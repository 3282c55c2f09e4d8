/**
 * Builds JSON Schemas with TypeBox's types and none of its engine: at run time a schema is the plain
 * object it describes, and TypeBox is only read by the type checker. Its own builder costs 23 MB in
 * every thread that loads it (docs/decisions/010). Only what the contracts need is here.
 */
import type TypeBox from 'typebox';

export type { Static, TSchema, TSchemaOptions } from 'typebox';

type Plain = Record<string, unknown>;
type Builders = Pick<
  typeof TypeBox,
  | 'Array'
  | 'Boolean'
  | 'Enum'
  | 'Integer'
  | 'Literal'
  | 'Null'
  | 'Number'
  | 'Object'
  | 'Optional'
  | 'Record'
  | 'Ref'
  | 'String'
  | 'Union'
  | 'Unknown'
  | 'Unsafe'
>;

/** Marks a member of an object that may be left out; not part of the JSON Schema. */
const OPTIONAL = Symbol('optional');

const typed =
  (type: string) =>
  (options: Plain = {}): Plain => ({ type, ...options });

const builders = {
  Array: (items: Plain, options: Plain = {}) => ({ type: 'array', items, ...options }),
  Boolean: typed('boolean'),
  Enum: (values: readonly unknown[], options: Plain = {}) => ({ enum: [...values], ...options }),
  Integer: typed('integer'),
  Literal: (value: unknown, options: Plain = {}) => ({
    type: typeof value,
    const: value,
    ...options,
  }),
  Null: typed('null'),
  Number: typed('number'),
  Object: (properties: Record<string, Plain>, options: Plain = {}) => {
    const required = Object.keys(properties).filter((name) => !isOptional(properties[name]));
    return {
      type: 'object',
      ...(required.length > 0 ? { required } : {}),
      properties,
      ...options,
    };
  },
  Optional: (schema: Plain) =>
    Object.defineProperty({ ...schema }, OPTIONAL, { value: true, enumerable: false }),
  Record: (key: Plain, value: Plain, options: Plain = {}) => ({
    type: 'object',
    patternProperties: { [(key['pattern'] as string | undefined) ?? '^.*$']: value },
    ...options,
  }),
  Ref: (name: string, options: Plain = {}) => ({ $ref: name, ...options }),
  String: typed('string'),
  Union: (anyOf: readonly Plain[], options: Plain = {}) => ({ anyOf, ...options }),
  Unknown: (options: Plain = {}) => ({ ...options }),
  Unsafe: (schema: Plain) => schema,
};

function isOptional(schema: Plain | undefined): boolean {
  return schema !== undefined && OPTIONAL in schema;
}

export const Type = builders as unknown as Builders;
