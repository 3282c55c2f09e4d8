/**
 * What is wrong with a value, in words for whoever sent it: faults of JSON Schema as Ajv reports
 * them, without the regular expressions, which mean nothing to people. A pattern is therefore made
 * here, together with what it asks for; formats have their words below. Nothing is checked here.
 */

const MEANINGS = new Map<string, string>();

/** A regular expression for schemas. @param meaning as it follows the name of a field: `must be …` */
export function pattern(source: string, meaning: string): string {
  MEANINGS.set(source, meaning);
  return source;
}

const FORMATS: Readonly<Record<string, string>> = {
  'date-time': 'a time with a zone, such as 2026-12-24T08:00:00Z',
  date: 'a date, such as 2026-12-24',
  email: 'an email address',
  uri: 'a URL',
};

const TYPES: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
  object: 'an object',
  array: 'an array',
  null: 'null',
};

/** One fault as Ajv reports it, with `allErrors`. */
export interface SchemaFault {
  instancePath: string;
  schemaPath: string;
  keyword: string;
  params: Readonly<Record<string, unknown>>;
  message?: string;
  /** Set when it is about the name of a property rather than its value. */
  propertyName?: string;
}

/** As it follows the name of the field: `must be at least 1`. */
export function faultMessage(fault: SchemaFault): string {
  const rule = ruleOf(fault);
  return fault.propertyName === undefined ? rule : `is not an acceptable name: ${rule}`;
}

function ruleOf({ keyword, params, message }: SchemaFault): string {
  const limit = params['limit'] as number;
  switch (keyword) {
    case 'pattern':
      return MEANINGS.get(String(params['pattern'])) ?? 'does not have the form that is needed';
    case 'format':
      return `must be ${FORMATS[String(params['format'])] ?? `a valid ${params['format']}`}`;
    case 'type':
      return `must be ${typesOf(params['type']).map(nameOfType).join(' or ')}`;
    case 'enum':
      return `must be one of: ${(params['allowedValues'] as unknown[]).join(', ')}`;
    case 'const':
      return `must be ${JSON.stringify(params['allowedValue'])}`;
    case 'minLength':
      return limit === 1 ? 'must not be empty' : `must have at least ${limit} characters`;
    case 'maxLength':
      return `must have at most ${countOf(limit, 'character')}`;
    case 'minItems':
      return limit === 1 ? 'must not be empty' : `must have at least ${limit} items`;
    case 'maxItems':
      return `must have at most ${countOf(limit, 'item')}`;
    case 'uniqueItems':
      return 'must not have the same item twice';
    case 'minProperties':
      return limit === 1 ? 'must not be empty' : `must have at least ${limit} properties`;
    case 'maxProperties':
      return `must have at most ${countOf(limit, 'property', 'properties')}`;
    case 'minimum':
      return `must be at least ${limit}`;
    case 'maximum':
      return `must be at most ${limit}`;
    case 'exclusiveMinimum':
      return `must be more than ${limit}`;
    case 'exclusiveMaximum':
      return `must be less than ${limit}`;
    case 'multipleOf':
      return `must be a multiple of ${params['multipleOf']}`;
    case 'required':
      return 'is required';
    case 'additionalProperties':
      return 'is not a known property';
    case 'propertyNames':
      return 'is not an acceptable name';
    case 'anyOf':
    case 'oneOf':
      return 'does not have any of the allowed forms';
    default:
      return message ?? 'is not valid';
  }
}

function typesOf(type: unknown): unknown[] {
  return typeof type === 'string' ? type.split(',') : [type].flat();
}

function nameOfType(type: unknown): string {
  return TYPES[String(type)] ?? String(type);
}

function countOf(limit: number, one: string, many = `${one}s`): string {
  return `${limit} ${limit === 1 ? one : many}`;
}

/** A body of a megabyte can have a hundred thousand faults; nobody reads more than a few. */
const MOST_FAULTS = 500;

/**
 * The faults that tell somebody what to mend, of the first MOST_FAULTS. Left out is what Ajv says
 * beside them: that some name of an object is wrong when it also says which rule the name breaks,
 * and what keeps a value from being an alternative that nobody meant.
 */
export function tellingFaults(faults: readonly SchemaFault[]): SchemaFault[] {
  const looked = faults.slice(0, MOST_FAULTS).filter(({ keyword }) => keyword !== 'if');
  const names = new Set<string>();
  for (const { instancePath, propertyName } of looked) {
    if (propertyName !== undefined) names.add(`${instancePath}/${propertyName}`);
  }
  let telling = looked.filter(
    ({ keyword, instancePath, params }) =>
      keyword !== 'propertyNames' || !names.has(`${instancePath}/${params['propertyName']}`),
  );
  // Inner unions are reported before the outer ones, which then have their faults as told.
  for (const union of telling.filter(({ keyword }) => keyword === 'anyOf' || keyword === 'oneOf')) {
    const inside = telling.filter(({ schemaPath }) =>
      schemaPath.startsWith(`${union.schemaPath}/`),
    );
    const told = faultsOfUnion(union, inside);
    const settled = new Set(inside);
    telling = telling.flatMap((fault) =>
      fault === union ? told : settled.has(fault) ? [] : [fault],
    );
  }
  return telling;
}

/** Those of the one alternative that was meant: the only one for which the value has the right type. */
function faultsOfUnion(union: SchemaFault, inside: readonly SchemaFault[]): SchemaFault[] {
  const alternatives = new Map<string, SchemaFault[]>();
  for (const fault of inside) {
    const index = fault.schemaPath.slice(union.schemaPath.length + 1).split('/', 1)[0] as string;
    alternatives.set(index, [...(alternatives.get(index) ?? []), fault]);
  }
  const isType = ({ keyword, instancePath }: SchemaFault): boolean =>
    keyword === 'type' && instancePath === union.instancePath;
  const meant = [...alternatives.values()].filter((found) => !found.some(isType));
  if (meant.length === 1) return meant[0] as SchemaFault[];
  const types = inside.filter(isType).flatMap(({ params }) => typesOf(params['type']));
  if (meant.length > 1 || types.length === 0) return [union];
  return [{ ...union, keyword: 'type', params: { type: [...new Set(types)] } }];
}

/** Where a fault is, below the value that was checked: names and indexes. */
export function pathOfFault({
  instancePath,
  keyword,
  params,
  propertyName,
}: SchemaFault): string[] {
  const steps = instancePath
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
  if (propertyName !== undefined) return [...steps, propertyName];
  switch (keyword) {
    case 'required':
      return [...steps, String(params['missingProperty'])];
    case 'additionalProperties':
      return [...steps, String(params['additionalProperty'])];
    case 'propertyNames':
      return [...steps, String(params['propertyName'])];
    default:
      return steps;
  }
}
