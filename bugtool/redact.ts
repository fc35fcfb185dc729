/**
 * Takes secrets out of text on its way into the archive. Every pattern is linear: a keyword first, then bounded
 * or exclusive repetitions, because the text may be one line of many megabytes.
 */
const MASK = '[redacted]';

/** Longest text held back in search of the end of a line. */
const HOLD_CHARS = 1 << 20;

const KEYWORD =
  '(?:password|passwd|passphrase|secret|api[_-]?key|private[_-]?key|access[_-]?key|fastopen_key|token)';

/** `secret: x`, `"etcd-password": "x"`, `TOKEN=x`; numbers, booleans and null stay. */
const ASSIGNMENT = new RegExp(
  `(${KEYWORD}[\\w.-]{0,40}["']?\\s{0,4}[:=]\\s{0,4})(?!null\\b|true\\b|false\\b|\\d+\\b(?![-.\\w]))("(?:[^"\\\\]|\\\\.)*"|'[^']*'|[^\\s,;&}\\]"']+)`,
  'gi',
);
/** `--etcd-password x`. */
const FLAG = new RegExp(`(--[\\w-]{0,40}${KEYWORD}[\\w-]{0,40}[ =])([^\\s-]\\S*)`, 'gi');
const AUTHORIZATION =
  /((?:proxy-)?authorization["']?\s{0,4}[:=]\s{0,4}["']?)(?:(?:basic|bearer|digest|negotiate)\s+)?([^\s"',]+)/gi;
const BEARER = /(\bbearer\s+)([A-Za-z0-9._~+/=-]{8,})/gi;
const USERINFO = /(:\/\/[^\s/:@"']{1,128}:)([^\s/@"']{1,256})(?=@)/g;
const PEM_BEGIN = /-----BEGIN [A-Z ]*PRIVATE KEY-----/;
const PEM_END = /-----END [A-Z ]*PRIVATE KEY-----/;

/** A stateful filter for one text; `count` is the number of places masked so far. */
export class Redactor {
  count = 0;
  #rest = '';
  #inKey = false;

  /** @returns what can be passed on; the end of an unfinished line is held back */
  push(text: string): string {
    this.#rest += text;
    const cut = this.#cut();
    const whole = this.#rest.slice(0, cut);
    this.#rest = this.#rest.slice(cut);
    return this.#clean(whole);
  }

  /** @returns what was held back */
  end(): string {
    const rest = this.#rest;
    this.#rest = '';
    return this.#clean(rest);
  }

  #cut(): number {
    const line = this.#rest.lastIndexOf('\n') + 1;
    if (line > 0 || this.#rest.length < HOLD_CHARS) return line;
    // A line without end: cut where no secret begins or ends, else wait for more.
    const comma = this.#rest.lastIndexOf('},') + 2;
    return comma > 1 ? comma : this.#rest.length >= 4 * HOLD_CHARS ? this.#rest.length : 0;
  }

  #mask(text: string, pattern: RegExp): string {
    return text.replace(pattern, (_match, before: string, secret: string) => {
      if (secret === MASK || secret === `"${MASK}"`) return before + secret;
      this.count++;
      const quote = secret.startsWith('"') ? '"' : '';
      return `${before}${quote}${MASK}${quote}`;
    });
  }

  #clean(text: string): string {
    const open = this.#dropKeys(text);
    return [AUTHORIZATION, BEARER, FLAG, ASSIGNMENT, USERINFO].reduce(
      (cleaned, pattern) => this.#mask(cleaned, pattern),
      open,
    );
  }

  /** Private keys, whether on many lines or as one JSON string with `\n`. */
  #dropKeys(text: string): string {
    let rest = text;
    let kept = '';
    for (;;) {
      const edge = (this.#inKey ? PEM_END : PEM_BEGIN).exec(rest);
      if (edge === null) return this.#inKey ? kept : kept + rest;
      if (!this.#inKey) {
        this.count++;
        kept += `${rest.slice(0, edge.index)}${MASK}`;
      }
      rest = rest.slice(edge.index + edge[0].length);
      this.#inKey = !this.#inKey;
    }
  }
}
