/** `--data` and `--metadata`: JSON objects, files, and `key=value` pairs. */
import { readFileSync, statSync } from 'node:fs';
import { usage } from './exit.ts';

/** Beyond what the service takes in one request by default, and far below what hurts. */
export const FILE_LIMIT_BYTES = 32 * 1024 * 1024;

type JsonObject = Record<string, unknown>;

/** The text of a file that an option names. @throws CommandFailure that names the option */
export function readOptionFile(path: string, name: string): string {
  return readOptionBytes(path, name).toString('utf8');
}

export function readOptionBytes(path: string, name: string): Buffer {
  try {
    if (statSync(path).size > FILE_LIMIT_BYTES) throw new Error('it is larger than 32 MiB');
    return readFileSync(path);
  } catch (error) {
    throw usage(`${name}: ${path} cannot be read: ${(error as Error).message}`);
  }
}

/** `@file` is the file's text, anything else itself. */
export function textOrFile(value: string, name: string): string {
  return value.startsWith('@') ? readOptionFile(value.slice(1), name) : value;
}

/** A JSON object, as text or as `@file`. */
export function parseJsonObject(value: string, name: string): JsonObject {
  return jsonObjectOf(textOrFile(value, name), name);
}

export function jsonObjectOf(text: string, name: string): JsonObject {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw usage(`${name}: is not JSON: ${(error as Error).message}`);
  }
  if (parsed === null || typeof parsed !== 'object' || Array.isArray(parsed)) {
    throw usage(`${name}: must be a JSON object, like {"order": 7}`);
  }
  return parsed as JsonObject;
}

/**
 * Each value is a JSON object, `@file.json`, `key=text`, or `key:=json`; later ones are laid over
 * earlier ones. A dot in a key goes one level deeper: `order.id=7`.
 */
export function parseData(values: readonly string[], name = '--data'): JsonObject {
  const data: JsonObject = {};
  for (const value of values) {
    if (value.startsWith('{') || value.startsWith('@')) {
      for (const [key, inner] of Object.entries(parseJsonObject(value, name))) {
        setOwn(data, key, inner);
      }
    } else {
      const { key, text, json } = split(value, name);
      assign(data, key.split('.'), json ? parseJson(text, `${name} ${key}`) : text, name);
    }
  }
  return data;
}

/** `key=text` pairs, or a JSON object of texts. */
export function parseTexts(values: readonly string[], name: string): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const value of values) {
    if (value.startsWith('{') || value.startsWith('@')) {
      for (const [key, inner] of Object.entries(parseJsonObject(value, name))) {
        if (typeof inner !== 'string') throw usage(`${name} ${key}: must be a text`);
        setOwn(texts, key, inner);
      }
    } else {
      const at = value.indexOf('=');
      if (at < 1) throw usage(`${name}: "${value}" is not of the form key=value`);
      setOwn(texts, value.slice(0, at), value.slice(at + 1));
    }
  }
  return texts;
}

/** The parts of a list such as `email,in_app`. */
export function parseList(value: string): string[] {
  return value
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

function split(value: string, name: string): { key: string; text: string; json: boolean } {
  const at = value.indexOf('=');
  const json = value[at - 1] === ':';
  const key = value.slice(0, json ? at - 1 : at);
  if (at < 1 || key === '') {
    throw usage(`${name}: "${value}" is none of {"a":1}, @file.json, key=text, key:=json`);
  }
  return { key, text: value.slice(at + 1), json };
}

function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw usage(`${name}: is not JSON: ${(error as Error).message}`);
  }
}

function assign(data: JsonObject, path: readonly string[], value: unknown, name: string): void {
  if (path.includes('')) throw usage(`${name}: "${path.join('.')}" has an empty part`);
  let at = data;
  for (const step of path.slice(0, -1)) {
    const inner = Object.hasOwn(at, step) ? at[step] : undefined;
    if (
      inner !== undefined &&
      (inner === null || typeof inner !== 'object' || Array.isArray(inner))
    ) {
      throw usage(`${name}: ${path.join('.')} lies within ${step}, which is not an object`);
    }
    if (inner === undefined) setOwn(at, step, {});
    at = at[step] as JsonObject;
  }
  setOwn(at, path.at(-1) as string, value);
}

/** Also for keys that an ordinary assignment would take for the prototype; the service refuses those. */
export function setOwn(target: object, key: string, value: unknown): void {
  Object.defineProperty(target, key, {
    value,
    writable: true,
    enumerable: true,
    configurable: true,
  });
}
