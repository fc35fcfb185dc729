import { CHARS, hexValue, PLAIN } from './chars.ts';

/*
 * What a request target is understood as. A server may decode and simplify a path before it looks at it; a rule must
 * then see what the server sees. So each way to write a path is one of: judged and passed as it is, passed in the one
 * form that all understand alike (RFC 3986 §6.2.2), or refused with 400.
 *
 * | in the path                                   | becomes                                                          |
 * |-----------------------------------------------|------------------------------------------------------------------|
 * | `.` or `..` segment, also percent-encoded     | 400                                                              |
 * | empty segment (`//`), also of parameters only | 400                                                              |
 * | `.` or `..` with parameters (`..;x`), or with what an encoded `?` or `#` begins | 400: who decodes first sees `..` |
 * | dots and encoded blanks (`..%20`, `...%20.`)  | 400: who trims names sees `..`                                   |
 * | `;x` parameters, also with `%3B`              | must be allowed both with and without them                       |
 * | `\`, `%5C`, `%2F`                             | 400                                                              |
 * | control characters, also encoded; `%7F`       | 400                                                              |
 * | space, `#`, bytes over 0x7E                   | 400 (no request target has them)                                 |
 * | `%` without two hexadecimal digits            | 400                                                              |
 * | `%25` and two hexadecimal digits, or `u` and four, however they are encoded | 400: who decodes twice sees something else |
 * | encoded letters, digits, `-`, `.`, `_`, `~`   | decoded, for the rule and for the server                         |
 * | other encoded ASCII                           | kept, digits in upper case                                       |
 * | dots and blanks of other scripts (`%EF%BC%8E`) that come to `.` or `..`, also beside other slashes | 400: who maps them to ASCII sees dot segments |
 * | encoded bytes over 0x7F                       | kept, digits in upper case; 400 if they are no UTF-8 (overlong forms, surrogates, above U+10FFFF) |
 * | `"<>^{|}` and backtick                        | kept                                                             |
 *
 * The query is kept as it is; rules see it as received. `*` is a target of OPTIONS only. `http://host/path` is passed
 * on as `/path`, and only if the host is that of `Host`; CONNECT's form is refused before.
 */

export interface Target {
  /** Path and query, for rules and for the server. */
  readonly path: string;
  /** The same without path parameters, where it has some: rules must allow it too. */
  readonly bare: string | undefined;
  /** Whether `path` differs from the target as received, and the request line has to be written anew. */
  readonly rewritten: boolean;
}

const SLASH = 0x2f;
const DOT = 0x2e;
const PERCENT = 0x25;
const QUESTION = 0x3f;
const BACKSLASH = 0x5c;

/** @returns what the target is understood as, or why it is refused */
export function readTarget(method: string, target: string, host: string): Target | string {
  if (target.charCodeAt(0) === SLASH) return readPath(target, target);
  if (target === '*')
    return method === 'OPTIONS' ? { path: '*', bare: undefined, rewritten: false } : 'target *';
  return readAbsolute(method, target, host);
}

const ABSOLUTE = /^http:\/\/([^/?]*)(.*)$/i;
const withoutPort80 = (host: string): string => host.toLowerCase().replace(/:(?:80)?$/, '');

function readAbsolute(method: string, target: string, host: string): Target | string {
  const [, authority, rest] = ABSOLUTE.exec(target) ?? [];
  if (authority === undefined || rest === undefined) return 'bad target';
  if (authority === '' || withoutPort80(authority) !== withoutPort80(host)) return 'target and Host differ';
  if (rest === '' && method === 'OPTIONS') return { path: '*', bare: undefined, rewritten: true };
  return readPath(rest.startsWith('/') ? rest : `/${rest}`, target);
}

/** @param received the whole target */
function readPath(target: string, received: string): Target | string {
  const end = plainEnd(target);
  if (end === target.length || target.charCodeAt(end) === QUESTION) {
    return { path: target, bare: undefined, rewritten: target !== received };
  }
  const query = target.indexOf('?');
  const raw = query < 0 ? target : target.slice(0, query);
  const rest = query < 0 ? '' : target.slice(query);
  const path = decodePath(raw);
  if (path instanceof Refusal) return path.reason;
  const problem = segmentsProblem(path);
  if (problem !== undefined) return problem;
  const bare = withoutParameters(path);
  const whole = `${path}${rest}`;
  return {
    path: whole,
    bare: bare === undefined ? undefined : `${bare}${rest}`,
    rewritten: whole !== received,
  };
}

/** Offset of the first character that needs a second look, or of `?`: paths of plain segments end the work here. */
function plainEnd(target: string): number {
  let p = 0;
  let segment = 0;
  for (; p < target.length; p++) {
    const code = target.charCodeAt(p);
    if (code === SLASH) {
      if (p > 0 && segment === p) return p;
      segment = p + 1;
    } else if (code === DOT) {
      if (p === segment) return p;
    } else if (((CHARS[code] as number) & PLAIN) === 0) return p;
  }
  return p;
}

/** A path that is not acceptable. */
class Refusal {
  readonly reason: string;
  constructor(reason: string) {
    this.reason = reason;
  }
}

const UNRESERVED = /[A-Za-z0-9\-._~]/;

/** Percent-encodings in their one form. */
function decodePath(raw: string): string | Refusal {
  let path = '';
  for (let p = 0; p < raw.length; p++) {
    const code = raw.charCodeAt(p);
    if (code === BACKSLASH) return new Refusal('backslash in the path');
    if (code !== PERCENT) {
      path += raw[p];
      continue;
    }
    const byte = encodedByte(raw, p);
    if (byte < 0) return new Refusal('bad percent-encoding');
    if (byte < 0x80) {
      const text = encodedAscii(raw, p, byte);
      if (text instanceof Refusal) return text;
      path += text;
      p += 2;
    } else {
      const length = utf8Length(raw, p);
      if (length === 0) return new Refusal('percent-encoding of no UTF-8');
      path += raw.slice(p, p + 3 * length).toUpperCase();
      p += 3 * length - 1;
    }
  }
  return path;
}

/** The byte encoded at `p`, -1: none. */
function encodedByte(raw: string, p: number): number {
  if (raw.charCodeAt(p) !== PERCENT || p + 2 >= raw.length) return -1;
  const high = hexValue(raw.charCodeAt(p + 1));
  const low = hexValue(raw.charCodeAt(p + 2));
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

function encodedAscii(raw: string, p: number, byte: number): string | Refusal {
  if (byte < 0x20 || byte === 0x7f) return new Refusal('encoded control character in the path');
  if (byte === SLASH || byte === BACKSLASH) return new Refusal('encoded slash in the path');
  const char = String.fromCharCode(byte);
  return UNRESERVED.test(char) ? char : raw.slice(p, p + 3).toUpperCase();
}

/** First continuation byte's range by lead byte (RFC 3629 §4), which leaves out overlong forms and surrogates. */
function utf8Shape(lead: number): readonly [length: number, first: number, last: number] | undefined {
  if (lead >= 0xc2 && lead <= 0xdf) return [2, 0x80, 0xbf];
  if (lead >= 0xe0 && lead <= 0xef) return [3, lead === 0xe0 ? 0xa0 : 0x80, lead === 0xed ? 0x9f : 0xbf];
  if (lead >= 0xf0 && lead <= 0xf4) return [4, lead === 0xf0 ? 0x90 : 0x80, lead === 0xf4 ? 0x8f : 0xbf];
  return undefined;
}

/** Bytes of the encoded UTF-8 character at `p`; 0: none. */
function utf8Length(raw: string, p: number): number {
  const shape = utf8Shape(encodedByte(raw, p));
  if (shape === undefined) return 0;
  const [length, first, last] = shape;
  for (let i = 1; i < length; i++) {
    const byte = encodedByte(raw, p + 3 * i);
    if (byte < (i === 1 ? first : 0x80) || byte > (i === 1 ? last : 0xbf)) return 0;
  }
  return length;
}

const PARAMETERS = /(?:;|%3B).*$/;

/** What may be left out of a segment behind its name: parameters, and query or fragment for who decodes before it parts them. */
const BEHIND_NAME = /(?:;|%3B|%3F|%23).*$/;

/** File systems and servers that trim names make nothing, `.` or `..` of such. */
const TRIMMED_AWAY = /^(?:\.|%20)*%20(?:\.|%20)*$/;

/** What is left of an encoding when letters and digits are decoded: the digits may have been encoded themselves. */
const DOUBLY_ENCODED = /%25(?:[0-9A-F]{2}|u[0-9A-F]{4})/i;

/** Encoded bytes over 0x7F, once all are well-formed. */
const OTHER_SCRIPTS = /%[89A-F]/;

/** Characters that no form of Unicode makes slashes or dots, and code pages and old file systems do. */
const SLASHES = /[\u2044\u2215\u2216\u29f8\u29f5\u00a5\u20a9]/g;
const DOTS = /[\u3002\uff61]/g;

/** What is seen of a name by nobody, or dropped by some: blanks, joiners, parameters. */
const UNSEEN = /[\s\0\p{Default_Ignorable_Code_Point}]|[;?#].*$/gu;

/** Whether a segment is one of dots for who takes characters of other scripts for those of ASCII that look so. */
function isDisguised(path: string): boolean {
  if (!OTHER_SCRIPTS.test(path)) return false;
  const text = decodeURIComponent(path.replaceAll('%25', '_'));
  const plain = text.replace(SLASHES, '/').replace(DOTS, '.').normalize('NFKC');
  return plain.split(/[\\/]/).some((segment) => /^\.{1,2}$/.test(segment.replace(UNSEEN, '')));
}

function segmentsProblem(path: string): string | undefined {
  if (DOUBLY_ENCODED.test(path)) return 'doubly encoded path';
  if (isDisguised(path)) return 'dot segment of other characters in the path';
  const segments = path.slice(1).split('/');
  for (const [i, segment] of segments.entries()) {
    if (segment === '' && i < segments.length - 1) return 'empty segment in the path';
    const name = segment.replace(BEHIND_NAME, '');
    if (name === '.' || name === '..') return 'dot segment in the path';
    if (TRIMMED_AWAY.test(name)) return 'segment of dots and blanks in the path';
    if (segment !== '' && segment.replace(PARAMETERS, '') === '') return 'segment of parameters only';
  }
  return undefined;
}

/** @returns undefined when there are no parameters */
function withoutParameters(path: string): string | undefined {
  if (!path.includes(';') && !path.includes('%3B')) return undefined;
  return path
    .split('/')
    .map((segment) => segment.replace(PARAMETERS, ''))
    .join('/');
}
