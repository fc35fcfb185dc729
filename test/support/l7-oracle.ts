import type { DnsPattern, HeaderMatch, HttpRule, KafkaRule, L7Rules, PairRule } from '../../src/model/l7.ts';
import { type HttpTry, KAFKA_KEYS, type KafkaTry, type PairTry, READINGS } from './l7-language.ts';

/*
 * What L7 rules say of a request, as docs/l7.md and docs/dns.md read; shares no code with the proxy on purpose.
 * A request passes if something that lets every request through is among `allowing` (undefined), or a rule matches.
 */

type Allowing = readonly (L7Rules | undefined)[];

/** `deny`, or the ways in which a request may pass: `as it is`, or the changes of one of the rules that allow it so. */
export type HttpOracle = 'deny' | readonly string[];

const AS_IT_IS = 'as it is';

function whole(pattern: string | undefined, value: string): boolean {
  return pattern === undefined || new RegExp(`^(?:${pattern})$`).test(value);
}

function fieldValue({ headers, host }: HttpTry, name: string): string | undefined {
  const all: (readonly [string, string])[] = [['Host', host], ...headers];
  const same = all.filter(([other]) => other.toLowerCase() === name.toLowerCase());
  return same.length === 0 ? undefined : same.map(([, value]) => value).join(',');
}

/** `Name: value`, `Name value`, `Name`: the name ends at the first blank, whatever it holds. */
function headerOf(text: string): HeaderMatch {
  const [name = '', ...rest] = text.split(' ');
  return { name: name.replace(/:$/, ''), value: rest.length === 0 ? undefined : rest.join(' ').trim() };
}

/** How a rule lets a request pass whose path is read so; undefined: not at all. */
function passage(rule: HttpRule, request: HttpTry, path: string): string | undefined {
  const fits = whole(rule.path, path) && whole(rule.method, request.method) && whole(rule.host, request.host);
  if (!fits) return undefined;
  const wanted = [...rule.headers.map(headerOf), ...rule.headerMatches];
  const routes = ({ name, mismatch }: HeaderMatch): boolean =>
    name.toLowerCase() === 'host' && mismatch !== undefined && mismatch !== 'LOG';
  // A Secret that is missing has no value: nothing matches, and nothing can be written.
  const lacks = ({ secret, value }: HeaderMatch): boolean => secret !== undefined && value === undefined;
  const writes = ({ mismatch }: HeaderMatch): boolean => mismatch === 'ADD' || mismatch === 'REPLACE';
  if (wanted.some((match) => routes(match) || (lacks(match) && writes(match)))) return undefined;
  const missed = wanted.filter((match) => {
    const { name, value } = match;
    if (lacks(match)) return true;
    const found = fieldValue(request, name);
    return value === undefined ? found === undefined : found !== value;
  });
  if (missed.length === 0) return AS_IT_IS;
  if (missed.some(({ mismatch }) => mismatch === undefined)) return undefined;
  const changes = missed.filter(({ mismatch }) => mismatch !== 'LOG');
  return changes.map(({ mismatch, name, value }) => `${mismatch} ${name}=${value ?? ''}`).join('; ');
}

export function httpOracle(allowing: Allowing, request: HttpTry): HttpOracle {
  if (allowing.includes(undefined)) return [AS_IT_IS];
  const rules = allowing.flatMap((l7) => (l7?.kind === 'http' ? l7.rules : []));
  const { path, bare } = READINGS.get(request.path) ?? { path: request.path };
  const ways = rules.flatMap((rule) => passage(rule, request, path) ?? []);
  if (ways.length === 0) return 'deny';
  if (bare !== undefined && rules.every((rule) => passage(rule, request, bare) === undefined)) return 'deny';
  return ways.includes(AS_IT_IS) ? [AS_IT_IS] : ways;
}

/** What a producer and a consumer send, facts 3.1. */
const ROLES = { produce: [0, 3, 18], consume: [1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 18] } as const;

function isAbout(rule: KafkaRule, { apiKey, apiVersion, clientId }: KafkaTry): boolean {
  const keys: readonly number[] | undefined = rule.role && ROLES[rule.role];
  return (
    (keys === undefined || keys.includes(apiKey)) &&
    (rule.apiKey === undefined || KAFKA_KEYS[rule.apiKey] === apiKey) &&
    (rule.apiVersion === undefined || rule.apiVersion === apiVersion) &&
    (rule.clientId === undefined || rule.clientId === clientId)
  );
}

/** Each topic needs a rule; a request of every topic one that names none; one without topics any that is about it. */
export function kafkaOracle(allowing: Allowing, request: KafkaTry): boolean {
  if (allowing.includes(undefined)) return true;
  const rules = allowing
    .flatMap((l7) => (l7?.kind === 'kafka' ? l7.rules : []))
    .filter((rule) => isAbout(rule, request));
  const { topics } = request;
  if (topics === undefined) return rules.some(({ topic }) => topic === undefined);
  if (topics.length === 0) return rules.length > 0;
  return topics.every((name) => rules.some(({ topic }) => topic === undefined || topic === name));
}

/** `*` alone is everything; else a run of characters of host names in one label, and `**.` before one or more labels. */
function namePattern(pattern: DnsPattern): RegExp {
  if (pattern.kind === 'regex') return new RegExp(`^(?:${pattern.regex})$`, 'i');
  const text = pattern.kind === 'name' ? pattern.name : pattern.pattern;
  if (text === '*') return /^.*$/s;
  const [deep, rest] = text.startsWith('**.') ? ['(?:[-a-z0-9_]+\\.)+', text.slice(3)] : ['', text];
  const escaped = rest.replaceAll('.', '\\.').replaceAll('*', '[-a-z0-9_]*');
  return new RegExp(`^${deep}${escaped}$`);
}

export function dnsOracle(allowing: Allowing, name: string): boolean {
  if (allowing.includes(undefined)) return true;
  const patterns = allowing.flatMap((l7) => (l7?.kind === 'dns' ? l7.rules : []));
  return patterns.some((pattern) => namePattern(pattern).test(name));
}

/** `*.` is one label, `**.` one or more; without a name only what asks for none lets a connection through. */
export function tlsOracle(allowing: Allowing, serverName: string): boolean {
  if (allowing.includes(undefined)) return true;
  const entries = allowing.flatMap((l7) => (l7?.kind === 'tls' ? l7.rules : []));
  return entries.some((entry) => {
    const [, stars = '', name = ''] = /^(\*{0,2})\.?(.*)$/.exec(entry) ?? [];
    if (stars === '') return serverName === name && serverName !== '';
    if (!serverName.endsWith(`.${name}`)) return false;
    const before = serverName.slice(0, -name.length - 1).split('.');
    return before.every((label) => label !== '') && (stars === '**' || before.length === 1);
  });
}

/** Commands of the text protocol that a word of a rule for memcached stands for, as far as the tests use them. */
const COMMANDS: Readonly<Record<string, readonly string[]>> = { get: ['get', 'gets'] };

function pairHolds(rule: PairRule, { kind, words: [first, rest] }: PairTry): boolean {
  const found = (regex: string | undefined, text: string): boolean =>
    regex === undefined || new RegExp(regex).test(text);
  if (kind === 'r2d2') return (rule.cmd ?? first) === first && found(rule.file, rest);
  if (kind === 'cassandra') return (rule.query_action ?? first) === first && found(rule.query_table, rest);
  const command = rule.command ?? rule.opCode;
  return (
    (command === undefined || (COMMANDS[command] ?? [command]).includes(first)) &&
    rest
      .split(',')
      .every(
        (key) =>
          (rule.keyExact ?? key) === key && key.startsWith(rule.keyPrefix ?? '') && found(rule.keyRegex, key),
      )
  );
}

/** All pairs of a rule hold; regular expressions are found anywhere. */
export function pairOracle(allowing: Allowing, request: PairTry): boolean {
  if (allowing.includes(undefined)) return true;
  return allowing.some(
    (l7) => l7?.kind === request.kind && l7.rules.some((rule) => pairHolds(rule, request)),
  );
}
