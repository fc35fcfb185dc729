import type * as Api from '../api/schema.ts';
import { isOutsideIdentity } from '../model/identity.ts';
import type { AccessLogRecord } from '../model/l7.ts';

/** Kinds of requests that are remembered; the one seen longest ago goes first. */
const REQUESTS_KEPT = 2048;
/** Characters: what is longer is not remembered, since rules look at all of it. */
const LONGEST = 1024;

type RequestWords = Pick<Api.PolicyRequest, 'kind' | 'method' | 'host' | 'path' | 'name'>;

interface SeenRequest {
  readonly record: AccessLogRecord;
  readonly words: RequestWords;
  readonly count: number;
  readonly seen: Date;
}

/** What rules look at, as far as it is logged; undefined for protocols whose requests are not remembered. */
function wordsOf({ l7 }: AccessLogRecord): RequestWords | undefined {
  switch (l7.kind) {
    case 'http':
      return { kind: 'http', method: l7.method, host: l7.host, path: l7.path };
    case 'dns':
      return { kind: 'dns', name: l7.query };
    case 'tls':
      return { kind: 'tls', name: l7.serverName };
    default:
      return undefined;
  }
}

function ends({ direction, source, destination }: AccessLogRecord) {
  return direction === 'ingress' ? { own: destination, peer: source } : { own: source, peer: destination };
}

/** `10.0.0.1:80`, `[fd00::1]:80`. */
function addressText({ address, port }: AccessLogRecord['source']): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function shown({ record, words, count, seen }: SeenRequest): Api.PolicyRequest {
  const { own, peer } = ends(record);
  return {
    endpoint: own.endpoint,
    identity: own.identity,
    direction: record.direction,
    'remote-identity': peer.identity,
    'destination-port': record.destination.port,
    verdict: record.verdict === 'forwarded' ? 'allow' : 'deny',
    count,
    'last-seen': seen.toISOString(),
    source: addressText(record.source),
    destination: addressText(record.destination),
    ...words,
  };
}

/** The kinds of requests that the proxy judged of late, each with its last verdict. */
export class SeenRequests {
  readonly #now: () => Date;
  /** In the order in which they were last seen. */
  readonly #kinds = new Map<string, SeenRequest>();

  constructor(now: () => Date) {
    this.#now = now;
  }

  /** @param record of a request that rules judged */
  add(record: AccessLogRecord): void {
    const words = wordsOf(record);
    if (words === undefined) return;
    const text = `${words.kind} ${words.method ?? ''} ${words.host ?? ''} ${words.path ?? words.name ?? ''}`;
    const { own, peer } = ends(record);
    if (text.length > LONGEST || own.endpoint === 0) return;
    const who = isOutsideIdentity(peer.identity) ? peer.address : peer.identity;
    const key = `${own.endpoint} ${record.direction} ${who} ${record.destination.port} ${text}`;
    const before = this.#kinds.get(key);
    this.#kinds.delete(key);
    this.#kinds.set(key, { record, words, count: (before?.count ?? 0) + 1, seen: this.#now() });
    if (this.#kinds.size <= REQUESTS_KEPT) return;
    const [first] = this.#kinds.keys();
    if (first !== undefined) this.#kinds.delete(first);
  }

  /** The endpoint is gone: its number may soon be another's. */
  removeEndpoint(id: number): void {
    for (const [key, { record }] of this.#kinds)
      if (ends(record).own.endpoint === id) this.#kinds.delete(key);
  }

  /** Newest first. */
  list(): readonly Api.PolicyRequest[] {
    return [...this.#kinds.values()].reverse().map(shown);
  }
}
