/** Ajv as this service uses it: with formats, and with a quicker way to measure the length of texts. */
import { faultMessage, pathOfFault, tellingFaults } from '@tidings/contracts/schema-fault';
import { _, Ajv, type KeywordCxt, type Options, type ValidateFunction } from 'ajv';
import addFormats from 'ajv-formats';

export function createAjv(options: Options): Ajv {
  const ajv = new Ajv({ strict: false, ...options });
  (addFormats as unknown as (ajv: Ajv) => void)(ajv);
  // JSON Schema counts code points. A text has at most as many as it has UTF-16 units, which is
  // known without reading it, so only texts that seem too long are counted.
  ajv.removeKeyword('maxLength');
  ajv.addKeyword({
    keyword: 'maxLength',
    type: 'string',
    schemaType: 'number',
    error: {
      message: ({ schemaCode }) => _`"must NOT have more than " + ${schemaCode} + " characters"`,
      params: ({ schemaCode }) => _`{limit: ${schemaCode}}`,
    },
    code(context: KeywordCxt) {
      const { gen, data, schemaCode } = context;
      const count = gen.scopeValue('func', { ref: countCodePoints });
      context.fail(_`${data}.length > ${schemaCode} && ${count}(${data}) > ${schemaCode}`);
    },
  });
  return ajv;
}

/** A check that is compiled when it is first needed. */
export function checkOf<Value>(schema: object) {
  let compiled: ValidateFunction | undefined;
  const validate = (): ValidateFunction => {
    compiled ??= createAjv({ allErrors: true }).compile(schema);
    return compiled;
  };
  return {
    fits: (value: unknown): value is Value => validate()(value) as boolean,
    /** What is wrong with a value; paths are relative to it. */
    faults(value: unknown): { path: string; message: string }[] {
      if (validate()(value)) return [];
      return tellingFaults(compiled?.errors ?? []).map((fault) => ({
        path: pathOfFault(fault).join('.'),
        message: faultMessage(fault),
      }));
    },
  };
}

function countCodePoints(text: string): number {
  let count = 0;
  for (const _character of text) count++;
  return count;
}
