/**
 * What liquidjs reads values from and writes text to, in place of its own: values are read
 * through value.ts alone, and everything is paid for.
 */
import { Context, Drop, type Emitter, type Liquid } from 'liquidjs';
import type { RenderState } from './render-state.ts';
import { readMember, toText, withoutDrop } from './value.ts';
import { RENDER_LIMITS, RenderLimitError, type Work } from './work.ts';

type Limiter = Context['memoryLimit'];

/** The context of one string; what it reads of the data are copies that its state keeps. */
export class BoundedContext extends Context {
  readonly state: RenderState;
  readonly #scopes: Record<string, unknown>[] = [Object.create(null)];

  constructor(liquid: Liquid, state: RenderState) {
    const limiter = state.work as unknown as Limiter;
    super(
      Object.create(null),
      liquid.options,
      { sync: true },
      { memoryLimit: limiter, renderLimit: limiter, liquid },
    );
    this.state = state;
  }

  override push(scope: object): number {
    return this.#scopes.push(scope as Record<string, unknown>);
  }

  override pop(): Record<string, unknown> | undefined {
    return this.#scopes.pop();
  }

  override bottom(): Record<string, unknown> {
    return this.#scopes[0] as Record<string, unknown>;
  }

  // liquidjs declares the two below to be generators; it takes a plain value as well.

  override _get(path: unknown[]): IterableIterator<unknown> {
    const scope = this.#scopeOf(path[0]);
    const root = scope === undefined ? this.#root(path[0]) : scope[path[0] as string];
    let value = root;
    for (let i = 1; i < path.length; i++) value = this.readProperty(value, path[i]);
    if (value === undefined) this.#miss(path, scope !== undefined && root === undefined);
    return this.#paid(value) as IterableIterator<unknown>;
  }

  /** A name that the template itself has given to nothing was told when it was given. */
  #miss(path: readonly unknown[], wasGiven: boolean): void {
    const isNamed = path.every((key) => typeof key === 'string' || typeof key === 'number');
    if (isNamed && !wasGiven) this.state.miss(path as (string | number)[]);
  }

  override _getFromScope(scope: unknown, path: unknown[] | string): IterableIterator<unknown> {
    let value = scope;
    for (const key of typeof path === 'string' ? [path] : path) {
      value = this.readProperty(value, key);
    }
    return this.#paid(value) as IterableIterator<unknown>;
  }

  override readProperty(value: unknown, key: unknown): unknown {
    const name = withoutDrop(key);
    if (typeof name !== 'string' && typeof name !== 'number') return undefined;
    return value instanceof Drop ? readDrop(value, name) : readMember(value, name, this.state.work);
  }

  #root(key: unknown): unknown {
    return typeof key === 'string' || typeof key === 'number' ? this.state.root(key) : undefined;
  }

  /** The innermost scope that has a name of the template's own. */
  #scopeOf(key: unknown): Record<string, unknown> | undefined {
    if (typeof key !== 'string' && typeof key !== 'number') return undefined;
    for (let i = this.#scopes.length - 1; i >= 0; i--) {
      const scope = this.#scopes[i] as Record<string, unknown>;
      if (key in scope) return scope;
    }
    return undefined;
  }

  /** Whoever gets an array or object may go through it, as `for` does before its first turn. */
  #paid(value: unknown): unknown {
    if (Array.isArray(value)) this.state.work.use(value.length);
    else if (typeof value === 'object' && value !== null && !(value instanceof Drop)) {
      this.state.work.list(Object.keys(value).length);
    }
    return value;
  }
}

const FORLOOP = new Set(['index', 'index0', 'rindex', 'rindex0', 'first', 'last', 'length']);

/** `forloop.index` and its like: methods of an object of liquidjs, of which no other may be called. */
function readDrop(drop: Drop, name: string | number): unknown {
  if (typeof name !== 'string' || !FORLOOP.has(name)) return undefined;
  const member: unknown = drop[name];
  return typeof member === 'function' ? member.call(drop) : member;
}

/** Collects rendered text; stands in for the emitter of liquidjs, which prints objects its own way. */
export class BoundedEmitter implements Emitter {
  buffer = '';
  readonly #work: Work;

  constructor(work: Work) {
    this.#work = work;
  }

  write(value: unknown): void {
    const text = toText(value, this.#work);
    this.#work.use(text.length);
    this.buffer += text;
    if (this.buffer.length > RENDER_LIMITS.textLength) {
      throw new RenderLimitError(`makes a text longer than ${RENDER_LIMITS.textLength} characters`);
    }
  }
}

/** The account of the rendering that a context belongs to. */
export function workOf(context: Context): Work {
  return (context as BoundedContext).state.work;
}
