import { isIP } from 'node:net';

import { compileDnsPattern } from '../../src/model/dns-pattern.ts';
import { type Identity, reservedIdentityOfLabels } from '../../src/model/identity.ts';
import { PAIR_KINDS } from '../../src/model/l7.ts';
import { formatLabels, type Label, labelSet, parseLabel } from '../../src/model/labels.ts';
import type { Direction } from '../../src/model/map-state.ts';
import type { NamedPort } from '../../src/model/named-port.ts';
import { formatProblems, type ParsedPolicy, parsePolicy } from '../../src/policy/index.ts';
import { type HttpTry, KAFKA_KEYS, type KafkaTry, type PairTry } from './l7-language.ts';

/*
 * A fixture is a policy text whose comments say what becomes of flows. A line is
 *   # allow|deny|redirect ingress|egress WORD...
 * with words `subject=` and `peer=` (labels joined by commas, a label without source is of Kubernetes and the endpoint
 * then in namespace `default` unless it says otherwise; or an address, of names `names=`), `port=80/TCP` (of ICMP the
 * type), `http=GET:/path:host`, `header=Name:value`, `dns=name`, `sni=name` (`-`: a hello without one), `kafka=key:version:client:topic+topic` (`*`: every
 * topic), `r2d2=READ:/file`, `memcache=get:key,key`, `cassandra=select:keyspace.table`; `change=ADD:Name:value` is how a request that is allowed is changed on its way, `change=none` that it is not.
 * `redirect` is for flows without a request, and for parsers that nobody judges here.
 *   # port NAME=80/TCP ...
 * are the named ports of the cluster, and of the subject.
 */

export interface FixtureFlow {
  readonly line: number;
  readonly text: string;
  readonly verdict: 'allow' | 'deny' | 'redirect';
  readonly direction: Direction;
  readonly subject: Identity;
  readonly peer: Identity | { readonly address: string; readonly names: readonly string[] };
  /** IANA number. */
  readonly protocol: number;
  /** Of ICMP the type. */
  readonly port: number;
  readonly http: HttpTry | undefined;
  readonly kafka: KafkaTry | undefined;
  readonly dns: string | undefined;
  /** Server that TLS asks for; empty for none. */
  readonly sni: string | undefined;
  /** Request of a protocol of `l7proto`: its first word and what follows. */
  readonly pair: PairTry | undefined;
  /** Changes, as a text that is empty for none; undefined: nothing is said of them. */
  readonly change: string | undefined;
}

export interface PolicyFixture {
  readonly policy: ParsedPolicy;
  readonly flows: readonly FixtureFlow[];
  readonly namedPorts: readonly NamedPort[];
  /** Every identity that a flow names. */
  readonly identities: readonly Identity[];
}

const PROTOCOLS: Readonly<Record<string, number>> = { TCP: 6, UDP: 17, SCTP: 132, ICMP: 1, ICMPv6: 58 };
const FIRST_ID = 1000;
const FIRST_NODE_ID = 2 << 24;

/** Gives label sets their identities, the same set the same one. */
class Identities {
  readonly #known = new Map<string, Identity>();

  of(labels: readonly Label[]): Identity {
    const key = formatLabels(labels).join();
    const reserved = reservedIdentityOfLabels(labels);
    const node = labels.some(({ source, key: name }) => source === 'reserved' && name === 'remote-node');
    const host = labels.some(({ source, key: name }) => source === 'reserved' && name === 'host');
    const first = node ? FIRST_NODE_ID : FIRST_ID;
    const id = reserved?.id ?? (host ? 1 : first + this.#known.size);
    const identity = this.#known.get(key) ?? { id, labels };
    this.#known.set(key, identity);
    return identity;
  }

  all(): readonly Identity[] {
    return [...this.#known.values()];
  }
}

function labelsOf(text: string): readonly Label[] {
  const labels = text.split(',').map((part) => parseLabel(part, 'k8s'));
  const pod = labels.every(({ source }) => source === 'k8s' || source === 'container');
  const placed = labels.some(({ key }) => key === 'io.kubernetes.pod.namespace');
  return labelSet(
    pod && !placed ? [...labels, parseLabel('k8s:io.kubernetes.pod.namespace=default')] : labels,
  );
}

function portOf(text: string): { readonly port: number; readonly protocol: number } {
  const [port, name = 'TCP'] = text.split('/');
  const protocol = PROTOCOLS[name];
  if (protocol === undefined) throw new Error(`${name} is no protocol`);
  return { port: Number(port), protocol };
}

function readWords(words: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const word of words) {
    const equals = word.indexOf('=');
    const key = word.slice(0, equals);
    found.set(key, [...(found.get(key) ?? []), word.slice(equals + 1)]);
  }
  return found;
}

function readHttp(text: string | undefined, headers: readonly string[]): HttpTry | undefined {
  if (text === undefined) return undefined;
  const [method = 'GET', path = '/', host = 'example.org'] = text.split(':');
  const pairs = headers.map((header) => {
    const [name = '', value = ''] = header.split(':');
    return [name, value] as const;
  });
  return { method, path, host, headers: pairs };
}

function readKafka(text: string | undefined): KafkaTry | undefined {
  if (text === undefined) return undefined;
  const [name = '', version, clientId, topics = ''] = text.split(':');
  const apiKey = KAFKA_KEYS[name];
  if (apiKey === undefined) throw new Error(`${name} is no request of Kafka`);
  const named = topics === '' ? [] : topics.split('+');
  return { apiKey, apiVersion: Number(version), clientId, ...(topics !== '*' && { topics: named }) };
}

function readPair(one: (key: string) => string | undefined): PairTry | undefined {
  const kind = PAIR_KINDS.find((name) => one(name) !== undefined);
  const [first = '', ...rest] = (kind === undefined ? '' : (one(kind) ?? '')).split(':');
  return kind && { kind, words: [first, rest.join(':')] };
}

function readChange(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const [action, name, value] = text.split(':');
  return action === 'none' ? '' : `${action} ${name}=${value}`;
}

function readFlow(text: string, line: number, identities: Identities): FixtureFlow | undefined {
  const [, verdict, direction, rest] = /^# (allow|deny|redirect) (ingress|egress) (.*)$/.exec(text) ?? [];
  if (rest === undefined) return undefined;
  const words = readWords(rest.split(' '));
  const one = (key: string): string | undefined => words.get(key)?.[0];
  const peer = one('peer') ?? 'app=peer';
  const outside = isIP(peer) > 0;
  return {
    line,
    text: text.slice(2),
    verdict: verdict as FixtureFlow['verdict'],
    direction: direction as Direction,
    subject: identities.of(labelsOf(one('subject') ?? 'app=a')),
    peer: outside ? { address: peer, names: one('names')?.split(',') ?? [] } : identities.of(labelsOf(peer)),
    ...portOf(one('port') ?? '80/TCP'),
    http: readHttp(one('http'), words.get('header') ?? []),
    kafka: readKafka(one('kafka')),
    dns: one('dns'),
    sni: one('sni')?.replace(/^-$/, ''),
    pair: readPair(one),
    change: readChange(one('change')),
  };
}

function readNamedPorts(lines: readonly string[]): NamedPort[] {
  return lines
    .filter((line) => line.startsWith('# port '))
    .flatMap((line) => line.split(' ').slice(2))
    .map((word) => {
      const [name = '', value = ''] = word.split('=');
      return { name, ...portOf(value) };
    });
}

/** Reads a fixture. @throws Error when its policy is invalid */
export function readFixture(text: string, file: string): PolicyFixture {
  const policy = parsePolicy(text, { file });
  if (policy.errors.length > 0) throw new Error(formatProblems(policy.errors));
  const identities = new Identities();
  const lines = text.split('\n');
  const flows = lines
    .map((line, i) => readFlow(line, i + 1, identities))
    .filter((flow) => flow !== undefined);
  return { policy, flows, namedPorts: readNamedPorts(lines), identities: identities.all() };
}

/** The FQDN selectors among `texts` that one of the names matches. */
export function selectorsOfNames(
  selectors: readonly { readonly text: string; readonly pattern: Parameters<typeof compileDnsPattern>[0] }[],
  names: readonly string[],
): ReadonlySet<string> {
  const matching = selectors.filter(({ pattern }) => names.some(compileDnsPattern(pattern)));
  return new Set(matching.map(({ text }) => text));
}
