/**
 * The JSON Schema (draft 2020-12) of a template's data: checked when a version is made, and
 * compiled to a function that checks data.
 *
 * Both the schema and the data come from callers, so what a check can cost is bounded: the
 * schema in size (schema-reader.ts), each check by the product of rules and values, regular
 * expressions by the steps they can take (pattern.ts). `$ref` leads to the schema's own `$defs`
 * only, and not in circles; nothing is ever fetched, and `default` changes nothing.
 */
import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { type FieldError, invalid } from '../errors.ts';
import { compilePattern, PATTERN_STEPS } from './pattern.ts';
import { readSchema } from './schema-reader.ts';

/** Rules times values of one check, a long text counting as several: 150 ms at the slowest. */
const MAX_CHECKS = 8_000_000;
/** Up to so many, all faults of the data are looked for, not only the first. */
const MAX_CHECKS_FOR_ALL = 20_000;
const MAX_DATA_DEPTH = 64;
/** Faults that are reported of one schema or one data. */
const MAX_ERRORS = 20;

const FULL_FORMATS = [
  ...(['date', 'time', 'date-time', 'duration', 'uuid', 'hostname', 'ipv4', 'ipv6'] as const),
  ...(['json-pointer', 'int32', 'int64', 'float', 'double'] as const),
];
/** Of these, ajv-formats has exact forms too, but they take the square of the length of a text. */
const FAST_FORMATS = ['email', 'uri', 'uri-reference'] as const;
const FORMATS: ReadonlySet<string> = new Set([...FULL_FORMATS, ...FAST_FORMATS]);

/** The faults of data, with paths like `data.items.0.price`; none when it fits. */
export type DataCheck = (data: unknown) => FieldError[];

/** Throws `invalid_template` with the paths of what is wrong: `variables.properties.name.pattern`. */
export function compileVariablesSchema(schema: unknown): DataCheck {
  const { size, faults } = readSchema(schema, FORMATS);
  if (faults.length > 0) throw invalid('invalid_template', faults.slice(0, MAX_ERRORS));
  const rules = ownCopy(schema);
  const first = compile(rules, firstErrorAjv());
  let all: ValidateFunction | undefined;
  return (data) => {
    try {
      const checks = size * measure(data, 0);
      if (checks > MAX_CHECKS) throw new CheckError('is too large to be checked');
      const errors = run(first, data);
      if (errors.length === 0 || checks > MAX_CHECKS_FOR_ALL) return errors;
      all ??= compile(rules, allErrorsAjv());
      return run(all, data);
    } catch (error) {
      return [{ path: 'data', message: error instanceof CheckError ? error.message : UNCHECKED }];
    }
  };
}

/** Ajv remembers schemas by their object, and has no object for `true` and `false`. */
function ownCopy(schema: unknown): object {
  if (typeof schema === 'boolean') return schema ? {} : { not: {} };
  return JSON.parse(JSON.stringify(schema));
}

/** What Ajv throws for, such as an object with a member named `valueOf` where one is compared. */
const UNCHECKED = 'cannot be checked';

/** Why data cannot be checked at all. */
class CheckError extends Error {}

/** How many values there are. Refuses what did not come from JSON, so that Ajv calls no getter. */
function measure(value: unknown, depth: number): number {
  if (typeof value === 'string') return 1 + value.length / 16;
  if (typeof value !== 'object' || value === null) return 1;
  if (depth > MAX_DATA_DEPTH) throw new CheckError(`is nested deeper than ${MAX_DATA_DEPTH}`);
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== Array.prototype && prototype !== null) {
    throw new CheckError('is not plain data');
  }
  let size = 1;
  for (const key of Object.keys(value)) {
    const { get, value: member } = Object.getOwnPropertyDescriptor(value, key) ?? {};
    if (get !== undefined) throw new CheckError('is not plain data');
    size += key.length / 16 + measure(member, depth + 1);
  }
  return size;
}

/** Steps that the patterns of the check that runs may still take. Checks are synchronous. */
let patternStepsLeft = 0;

function run(validate: ValidateFunction, data: unknown): FieldError[] {
  patternStepsLeft = PATTERN_STEPS;
  try {
    return validate(data) ? [] : toFieldErrors(validate.errors ?? [], 'data');
  } finally {
    validate.errors = null;
  }
}

function compile(schema: object, ajv: Ajv2020): ValidateFunction {
  try {
    if (ajv.opts.validateSchema && !ajv.validateSchema(schema)) {
      throw invalid('invalid_template', toFieldErrors(ajv.errors ?? [], 'variables'));
    }
    return ajv.compile(schema);
  } catch (error) {
    if (!(error instanceof Error) || error.name === 'ServiceError') throw error;
    throw invalid('invalid_template', [{ path: 'variables', message: error.message }]);
  } finally {
    ajv.removeSchema(schema);
  }
}

/** Made when first needed: compiling the schema of schemas takes 50 ms. */
let firstError: Ajv2020 | undefined;
let allErrors: Ajv2020 | undefined;

function firstErrorAjv(): Ajv2020 {
  firstError ??= createAjv({ allErrors: false, validateSchema: true });
  return firstError;
}

function allErrorsAjv(): Ajv2020 {
  allErrors ??= createAjv({ allErrors: true, validateSchema: false });
  return allErrors;
}

function createAjv(options: { allErrors: boolean; validateSchema: boolean }): Ajv2020 {
  const ajv = new Ajv2020({
    ...options,
    strict: false,
    logger: false,
    ownProperties: true,
    inlineRefs: false,
    code: { regExp: Object.assign(meteredPattern, { code: 'meteredPattern' }) },
  });
  addFormats.default(ajv, { formats: FULL_FORMATS });
  addFormats.default(ajv, { mode: 'fast', formats: [...FAST_FORMATS] });
  // Ajv's own compares each pair of objects: hours for 100,000 of them.
  ajv.removeKeyword('uniqueItems');
  ajv.addKeyword({
    keyword: 'uniqueItems',
    type: 'array',
    schemaType: 'boolean',
    validate: (wanted: boolean, items: unknown[]) => !wanted || isUnique(items),
    error: { message: 'must not have equal items' },
  });
  return ajv;
}

/** The engine of regular expressions that Ajv uses: pays for each match before it runs. */
function meteredPattern(source: string) {
  const { regExp, stepsFor } = compilePattern(source);
  return {
    test(text: string): boolean {
      patternStepsLeft -= stepsFor(text.length);
      if (patternStepsLeft < 0) throw new CheckError('has texts too long for the patterns');
      return regExp.test(text);
    },
    // Ajv takes patterns with the same text to be the same.
    toString: () => String(regExp),
  };
}

function isUnique(items: unknown[]): boolean {
  return new Set(items.map(canonicalJson)).size === items.length;
}

/** JSON that is equal for values that are equal: the order of keys does not matter. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) => {
    if (typeof member !== 'object' || member === null || Array.isArray(member)) return member;
    return Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

function toFieldErrors(errors: readonly ErrorObject[], root: string): FieldError[] {
  const distinct = new Map<string, FieldError>();
  for (const error of errors.slice(0, MAX_ERRORS)) {
    const fault = toFieldError(error, root);
    distinct.set(`${fault.path} ${fault.message}`, fault);
  }
  return [...distinct.values()];
}

function toFieldError({ instancePath, keyword, params, message }: ErrorObject, root: string) {
  const path = [root, ...instancePath.split('/').slice(1).map(unescapePointer)];
  const extra = params['additionalProperty'] ?? params['unevaluatedProperty'];
  if (keyword === 'required') {
    return { path: [...path, params['missingProperty']].join('.'), message: 'is required' };
  }
  if (extra !== undefined) return { path: [...path, extra].join('.'), message: 'is not allowed' };
  return { path: path.join('.'), message: message ?? keyword };
}

function unescapePointer(segment: string): string {
  return segment.replaceAll('~1', '/').replaceAll('~0', '~');
}
