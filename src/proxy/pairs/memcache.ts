import { RE2JS } from 're2js';
import type { PairRule } from '../../model/l7.ts';
import { MEMCACHE_COMMANDS } from '../../model/memcache-commands.ts';
import { memcacheCommandOf } from '../../model/pair-rules.ts';
import type { Dialect, Exchange, SpokenProtocol } from './connection.ts';
import { isFound } from './find.ts';
import type { PairMatcher } from './judge.ts';
import { BinaryDialect } from './memcache-binary-dialect.ts';
import type { MemcacheRequest } from './memcache-request.ts';
import { TextDialect } from './memcache-text-dialect.ts';

const bytesOf = (text: string): string => Buffer.from(text).toString('latin1');
const textOf = (bytes: string): string => Buffer.from(bytes, 'latin1').toString();

/** The first of the three conditions on keys that a rule has, as in Cilium; it must hold for every key of a request. */
function keyMatcher({ keyExact = '', keyPrefix = '', keyRegex = '' }: PairRule): (key: string) => boolean {
  const exact = bytesOf(keyExact);
  const prefix = bytesOf(keyPrefix);
  const regex = keyRegex === '' ? undefined : RE2JS.compile(keyRegex);
  if (exact !== '') return (key) => key === exact;
  if (prefix !== '') return (key) => key.startsWith(prefix);
  return regex === undefined ? () => true : (key) => isFound(regex, textOf(key));
}

function compile(rule: PairRule): PairMatcher<MemcacheRequest> {
  const keyMatches = keyMatcher(rule);
  const command = memcacheCommandOf(rule);
  if (command === undefined) return () => true;
  const { text, binary } = MEMCACHE_COMMANDS.get(command) ?? { text: [], binary: [] };
  return (request) => {
    const known = request.kind === 'text' ? text.includes(request.command) : binary.includes(request.opcode);
    return known && request.keys.every(keyMatches);
  };
}

/** memcached tells the two protocols apart by the first byte of a connection; so does this. */
class MemcacheDialect implements Dialect {
  readonly #exchange: Exchange<MemcacheRequest>;
  #dialect: Dialect | undefined;

  constructor(exchange: Exchange<MemcacheRequest>) {
    this.#exchange = exchange;
  }

  get begun(): boolean {
    return this.#dialect?.begun ?? false;
  }

  get blocked(): boolean {
    return this.#dialect?.blocked ?? false;
  }

  fromClient(chunk: Buffer): void {
    const binary = ((chunk[0] ?? 0) & 0x80) !== 0;
    this.#dialect ??= binary ? new BinaryDialect(this.#exchange) : new TextDialect(this.#exchange);
    this.#dialect.fromClient(chunk);
  }

  fromServer(chunk: Buffer): void {
    this.#dialect?.fromServer(chunk);
  }
}

/** memcached, text and binary. */
export const memcache: SpokenProtocol<MemcacheRequest> = {
  kind: 'memcache',
  compile,
  fields: (request): Record<string, string> =>
    request.kind === 'text'
      ? { command: request.command, keys: textOf(request.keys.join(', ')) }
      : { opcode: String(request.opcode), key: textOf(request.keys[0]) },
  open: (exchange) => new MemcacheDialect(exchange),
};
