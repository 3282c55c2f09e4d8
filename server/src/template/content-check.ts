/**
 * Whether content fits its channel: before rendering, with templates in its strings, and after.
 * What a channel is, its adapter says (adapters/adapter.ts, whose definitions fit the interface
 * here); what is right in the language of templates, compile.ts.
 */
import type { ChannelContent } from '@tidings/contracts/content';
import { faultMessage, pathOfFault, tellingFaults } from '@tidings/contracts/schema-fault';
import type { ErrorObject, ValidateFunction } from 'ajv';
import type { FieldError } from '../errors.ts';
import { createAjv } from '../json-schema.ts';

/** What templates need to know of a channel. */
export interface ChannelDefinition {
  channel: string;
  /** JSON Schema of the rendered content. */
  contentSchema: object;
  htmlFields: readonly string[];
  /** Limits that the schema cannot say; called with content that fits it. */
  validate(content: ChannelContent): FieldError[];
}

export interface Channels {
  get(channel: string): ChannelDefinition | undefined;
}

const MARKUP = /\{[{%]/;

/** Whether any string of a value is a template. */
export function hasMarkup(value: unknown): boolean {
  if (typeof value === 'string') return MARKUP.test(value);
  if (typeof value !== 'object' || value === null) return false;
  for (const member of Object.values(value)) if (hasMarkup(member)) return true;
  return false;
}

/** Faults of content as it will be sent; paths are relative to it. */
export function checkRendered(channel: ChannelDefinition, content: ChannelContent): FieldError[] {
  const { rendered } = validatorsOf(channel);
  return rendered(content) ? channel.validate(content) : faultsOf(rendered.errors);
}

/**
 * Faults that content has whatever will be rendered into it. A string with `{{` or `{%` in it is
 * exempt from the rules about text (pattern, format, lengths, the allowed values), which are
 * meant for what it becomes; so are limits of the adapter about a field with such a string in it.
 * All else holds: names and types of fields, what is needed, and strings without markup.
 */
export function checkUnrendered(channel: ChannelDefinition, content: ChannelContent): FieldError[] {
  const { unrendered } = validatorsOf(channel);
  if (!unrendered(content)) return faultsOf(unrendered.errors);
  return channel.validate(content).filter(({ path }) => !hasMarkup(valueAt(content, path)));
}

/** What content has at a dotted path. */
export function valueAt(content: ChannelContent, path: string): unknown {
  let value: unknown = content;
  for (const step of path === '' ? [] : path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step))
      return undefined;
    value = value[step as never];
  }
  return value;
}

interface Validators {
  rendered: ValidateFunction;
  unrendered: ValidateFunction;
}

const ajv = createAjv({ allErrors: true });

const validators = new WeakMap<ChannelDefinition, Validators>();

function validatorsOf(channel: ChannelDefinition): Validators {
  let known = validators.get(channel);
  if (known === undefined) {
    // Through JSON: TypeBox keeps notes of its own in a schema, and an `$id` could be taken.
    const { $id: _, ...schema } = JSON.parse(JSON.stringify(channel.contentSchema));
    known = { rendered: ajv.compile(schema), unrendered: ajv.compile(exempt(schema) as object) };
    validators.set(channel, known);
  }
  return known;
}

const TEXT_RULES = ['pattern', 'format', 'minLength', 'maxLength'];
const MAPS = new Set(['properties', 'patternProperties', '$defs', 'definitions']);
const LISTS = new Set(['anyOf', 'oneOf', 'allOf', 'prefixItems']);
const SINGLE = new Set(['items', 'additionalItems', 'additionalProperties', 'contains']);
/** Rules that turn on a value: what a template becomes decides them. */
const CONDITIONS = new Set(['not', 'if', 'then', 'else', 'uniqueItems']);

/** The schema without its rules about text wherever the text is a template. */
function exempt(schema: unknown): unknown {
  if (typeof schema !== 'object' || schema === null) return schema;
  if (Array.isArray(schema)) return schema.map(exempt);
  const result: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(schema)) {
    if (CONDITIONS.has(key)) continue;
    if (MAPS.has(key)) result[key] = mapValues(value, exempt);
    // Two alternatives may both take a template.
    else if (LISTS.has(key)) result[key === 'oneOf' ? 'anyOf' : key] = exempt(value);
    else result[key] = SINGLE.has(key) ? exempt(value) : value;
  }
  if (!rulesText(schema as Record<string, unknown>)) return result;
  return { if: { type: 'string', pattern: MARKUP.source }, else: result };
}

function mapValues(map: object, change: (value: unknown) => unknown): object {
  return Object.fromEntries(Object.entries(map).map(([key, value]) => [key, change(value)]));
}

function rulesText(schema: Record<string, unknown>): boolean {
  const types = schema['type'] === undefined ? ['string'] : [schema['type']].flat();
  if (!types.includes('string')) return false;
  const values = [schema['const'], ...((schema['enum'] as unknown[] | undefined) ?? [])];
  return (
    TEXT_RULES.some((rule) => rule in schema) || values.some((value) => typeof value === 'string')
  );
}

function faultsOf(errors: ErrorObject[] | null | undefined): FieldError[] {
  return tellingFaults(errors ?? []).map((fault) => ({
    path: pathOfFault(fault).join('.'),
    message: faultMessage(fault),
  }));
}
