import type { Param, ParamKind, ParamTypes } from '../../api/contract-types.ts';
import { parseEndpointRef } from '../../api/endpoint-ref.ts';
import { ApiError } from '../../api/errors.ts';
import { UsageError } from '../../base/errors.ts';
import { parseCidr, parseIp } from '../../base/ip.ts';

type Reader<K extends ParamKind> = (text: string) => ParamTypes[K];

/** Why a parameter is wrong; becomes an ApiError with the parameter's name. */
class Refusal extends Error {}

const READERS: { readonly [K in ParamKind]: Reader<K> } = {
  endpoint: (text) => {
    const ref = parseEndpointRef(text);
    if (typeof ref === 'string') throw new Refusal(ref);
    return ref;
  },
  identity: (text) => integer(text, 0, 0xffff_ffff),
  ip: (text) => {
    parseIp(text);
    return text;
  },
  cidr: (text) => {
    parseCidr(text);
    return text;
  },
  integer: (text) => integer(text, 0, Number.MAX_SAFE_INTEGER),
  boolean: (text) => {
    const word = text.toLowerCase();
    if (TRUE.has(word)) return true;
    if (FALSE.has(word)) return false;
    throw new Refusal(`expected true or false, got ${shown(text)}`);
  },
  family: (text) => {
    if (text === 'ipv4' || text === 'ipv6') return text;
    throw new Refusal(`expected ipv4 or ipv6, got ${shown(text)}`);
  },
  text: (text) => text,
};

/** As Go reads a boolean. */
const TRUE: ReadonlySet<string> = new Set(['1', 't', 'true']);
const FALSE: ReadonlySet<string> = new Set(['0', 'f', 'false']);

/** Where the texts of a request's parameters come from. */
export interface ParamSource {
  path(name: string): string | undefined;
  query(name: string): string | undefined;
  header(name: string): string | undefined;
}

/**
 * Reads the parameters of an operation; an absent one is `undefined`, an empty one of query or header is absent.
 * @throws ApiError 400 naming the parameter.
 */
export function readParams(
  params: Readonly<Record<string, Param>>,
  source: ParamSource,
): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(params).map(([name, param]) => [name, readParam(name, param, source)]),
  );
}

function readParam(name: string, param: Param, source: ParamSource): unknown {
  const text = source[param.in](name);
  if (text === undefined || (text === '' && param.in !== 'path')) return undefined;
  try {
    return READERS[param.kind](text);
  } catch (error) {
    if (!(error instanceof Refusal || error instanceof UsageError)) throw error;
    throw new ApiError(400, error.message, { field: fieldOf(name, param) });
  }
}

function fieldOf(name: string, param: Param): string {
  if (param.in === 'header') return `header ${name}`;
  return param.kind === 'endpoint' ? `endpoint ${name}` : name;
}

function integer(text: string, least: number, most: number): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= most)) {
    throw new Refusal(`expected an integer from ${least} to ${most}, got ${shown(text)}`);
  }
  return value;
}

function shown(text: string): string {
  return JSON.stringify(text.length <= 80 ? text : `${text.slice(0, 80)}…`);
}
