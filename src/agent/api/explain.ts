import type { TSchema } from 'typebox';
import { Compile, type Validator } from 'typebox/compile';
import { ApiError } from '../../api/errors.ts';
import type { ModelOf } from '../../api/schema.ts';
import { stringifyJson } from '../../base/json.ts';

/** The parts of a validator's error that are read here. */
interface SchemaError {
  readonly keyword: string;
  readonly instancePath: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly message: string;
}

const MAX_SHOWN = 80;

/** Checks values against one schema; compiled once. */
export class BodyCheck<S extends TSchema = TSchema> {
  readonly #name: string;
  readonly #validator: Validator;

  /** @param name how messages call the value: `endpoint`. */
  constructor(name: string, schema: S) {
    this.#name = name;
    this.#validator = Compile(schema);
  }

  /** The value, known to be what the schema says. @throws ApiError 400 naming the field: `endpoint.labels[2]: expected string, got number`. */
  read(value: unknown): ModelOf<S> {
    if (this.#validator.Check(value)) return value as ModelOf<S>;
    throw explain(this.#name, value, this.#validator.Errors(value) as readonly SchemaError[]);
  }
}

/**
 * Of all that a validator complains about, the complaint that helps: 1. the deepest place (a list that may also be null
 * is wrong in its item, not for being no null); 2. there, the alternatives to null before null.
 */
function explain(name: string, value: unknown, errors: readonly SchemaError[]): ApiError {
  const telling = errors.filter((error) => error.keyword !== 'anyOf' && error.params.type !== 'null');
  const depth = (error: SchemaError): number => error.instancePath.split('/').length;
  const [first] = telling.toSorted((a, b) => depth(b) - depth(a));
  if (first === undefined) return new ApiError(400, `unexpected ${kindOf(value)}`, { field: name });
  const missing = first.keyword === 'required' ? firstOf(first.params.requiredProperties) : undefined;
  if (missing !== undefined) {
    return new ApiError(400, 'required, but absent', {
      field: fieldName(name, value, first.instancePath, missing),
    });
  }
  const found = at(value, first.instancePath);
  return new ApiError(400, complaint(first, found), { field: fieldName(name, value, first.instancePath) });
}

function complaint(error: SchemaError, found: unknown): string {
  const { params } = error;
  if (error.keyword === 'type') return `expected ${article(params.type)}, got ${kindOf(found)}`;
  if (error.keyword === 'enum' && Array.isArray(params.allowedValues)) {
    return `expected one of ${params.allowedValues.join(', ')}; got ${shown(found)}`;
  }
  if (error.keyword === 'minimum' || error.keyword === 'maximum') {
    return `expected a number ${String(params.comparison)} ${String(params.limit)}, got ${shown(found)}`;
  }
  if (error.keyword === 'pattern')
    return `expected a text like ${String(params.pattern)}, got ${shown(found)}`;
  return `${error.message}, got ${shown(found)}`;
}

function article(type: unknown): string {
  return Array.isArray(type) ? type.join(' or ') : String(type);
}

/** The JSON type of a value, in the words of messages. */
function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'bigint') return 'an integer beyond 2^53';
  return value === undefined ? 'nothing' : typeof value;
}

function shown(value: unknown): string {
  if (typeof value === 'object') return kindOf(value);
  const text = stringifyJson(value) ?? 'nothing';
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}…`;
}

function firstOf(list: unknown): string | undefined {
  const first: unknown = Array.isArray(list) ? list[0] : undefined;
  return typeof first === 'string' ? first : undefined;
}

function segments(pointer: string): readonly string[] {
  return pointer === ''
    ? []
    : pointer
        .slice(1)
        .split('/')
        .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function child(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
  return (value as Record<string, unknown>)[key];
}

function at(value: unknown, pointer: string): unknown {
  return segments(pointer).reduce(child, value);
}

/** `endpoint.labels[2]`, `configuration.options["a b"]`. */
function fieldName(name: string, root: unknown, pointer: string, last?: string): string {
  let text = name;
  let value = root;
  for (const part of last === undefined ? segments(pointer) : [...segments(pointer), last]) {
    text += Array.isArray(value) ? `[${part}]` : member(part);
    value = child(value, part);
  }
  return text;
}

function member(key: string): string {
  const short = key.length <= MAX_SHOWN ? key : `${key.slice(0, MAX_SHOWN)}…`;
  return /^[\w-]+$/.test(short) ? `.${short}` : `[${JSON.stringify(short)}]`;
}
