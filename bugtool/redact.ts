/**
 * Takes secrets out of text on its way into the archive. Every pattern is linear: a keyword first, then bounded
 * or exclusive repetitions, because the text may be one line of many megabytes.
 */
const MASK = '[redacted]';
/** What is left of it in a value that ends at a bracket. */
const OPEN_MASK = MASK.slice(0, -1);

/** Longest text held back in search of the end of a line. */
const HOLD_CHARS = 1 << 20;

/** What is secret whatever it looks like, digits too. */
const SECRET_WORD =
  '(?:password|passwd|passphrase|api[_-]?key|private[_-]?key|access[_-]?key|fastopen_key|tls\\.key|pre-?shared-?key|\\bpsk\\b)';
/** What may also be counted: `"token-count": 12`. */
const COUNTED_WORD = '(?:secret|token|credential)';
/** Quoted, perhaps cut off before the closing quote, or a bare word. */
const VALUE = `("(?:[^"\\\\]|\\\\.)*"?|'[^']*'?|[^\\s,;&}\\]"']+)`;
const SEPARATOR = `[\\w.-]{0,40}["']?\\s{0,4}[:=]\\s{0,4}`;

/** `password: x`, `"etcd-password": "x"`; booleans and null stay. */
const ASSIGNMENT = new RegExp(`(${SECRET_WORD}${SEPARATOR})(?!null\\b|true\\b|false\\b)${VALUE}`, 'gi');
/** `TOKEN=x`; whole numbers stay. */
const COUNTED_ASSIGNMENT = new RegExp(
  `(${COUNTED_WORD}${SEPARATOR})(?!null\\b|true\\b|false\\b|\\d+\\b(?![-.\\w]))${VALUE}`,
  'gi',
);
/** `--etcd-password x`. */
const FLAG = new RegExp(
  `(--[\\w-]{0,40}(?:${SECRET_WORD}|${COUNTED_WORD})[\\w-]{0,40}[ =])([^\\s-]\\S*)`,
  'gi',
);
/** The whole value, whatever the scheme; with its quote where it is in quotes. */
const AUTHORIZATION = /((?:proxy-)?authorization["']?\s{0,4}[:=]\s{0,4}["']?)([^"'\r\n]+)/gi;
const COOKIE = /((?:set-)?cookie["']?\s{0,4}:\s{0,4}["']?)([^"'\r\n]+)/gi;
const BEARER = /(\bbearer\s+)([A-Za-z0-9._~+/=-]{8,})/gi;
/** A password may hold an `@` of its own. */
const USERINFO = /(:\/\/[^\s/:@"']{0,128}:)([^\s/"']{1,256})(?=@)/g;
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
      if (secret.includes(MASK) || secret === OPEN_MASK) return before + secret;
      this.count++;
      const quote = secret.startsWith('"') ? '"' : '';
      return `${before}${quote}${MASK}${quote}`;
    });
  }

  #clean(text: string): string {
    const open = this.#dropKeys(text);
    return [AUTHORIZATION, COOKIE, BEARER, FLAG, ASSIGNMENT, COUNTED_ASSIGNMENT, USERINFO].reduce(
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
