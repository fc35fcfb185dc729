/**
 * Takes secrets out of text on its way into the archive. Every pattern is linear: a keyword first, then bounded
 * or exclusive repetitions, because the text may be one line of many megabytes.
 */
const MASK = '[redacted]';
/** What is left of it in a value that ends at a bracket. */
const OPEN_MASK = MASK.slice(0, -1);

/** Longest text held back in search of the end of a line. */
const HOLD_CHARS = 1 << 20;
/** Longest value on several lines; what goes on longer was cut off before its closing quote. */
const VALUE_CHARS = 1 << 16;

/** What is secret whatever it looks like, digits too. */
const SECRET_WORD =
  '(?:password|passwd|passphrase|api[_-]?key|private[_-]?key|access[_-]?key|fastopen_key|tls\\.key|pre-?shared-?key|\\bpsk\\b)';
/** What may also be counted: `"token-count": 12`. */
const COUNTED_WORD = '(?:secret|token|credential)';
/** In quotes, perhaps in those of a text within a text (`\"x\"`), perhaps cut off before the closing one; or a bare word. */
const VALUE = `(\\\\+"[^"\\\\]*(?:\\\\+")?|"(?:[^"\\\\]|\\\\[\\s\\S])*"?|'[^']*'?|[^\\s,;&}\\]"']+)`;
const SEPARATOR = `[\\w.-]{0,40}\\\\{0,8}["']?\\s{0,4}[:=]\\s{0,4}`;

/** `password: x`, `"etcd-password": "x"`; booleans and null stay. */
const ASSIGNMENT = new RegExp(`(${SECRET_WORD}${SEPARATOR})(?!null\\b|true\\b|false\\b)${VALUE}`, 'gi');
/** `TOKEN=x`; whole numbers stay. */
const COUNTED_ASSIGNMENT = new RegExp(
  `(${COUNTED_WORD}${SEPARATOR})(?!null\\b|true\\b|false\\b|\\d+\\b(?![-.\\w]))${VALUE}`,
  'gi',
);
/** `--etcd-password x`, `--token="a b"`; what begins with `--` after a blank is the next option. */
const FLAG = new RegExp(
  `(--[\\w-]{0,40}(?:${SECRET_WORD}|${COUNTED_WORD})[\\w-]{0,40}(?:=| {1,4}(?!--)))("[^"]*"?|'[^']*'?|[^\\s"']\\S*)`,
  'gi',
);
/** A value in quotes that goes on after the end of the text. */
const OPEN_VALUE = new RegExp(
  `(?:(?:${SECRET_WORD}|${COUNTED_WORD})${SEPARATOR}|--[\\w-]{0,40}(?:${SECRET_WORD}|${COUNTED_WORD})[\\w-]{0,40} {1,4})("(?:[^"\\\\]|\\\\[\\s\\S])*|'[^']*)$`,
  'i',
);
const VALUE_END: Readonly<Record<string, RegExp>> = { '"': /^(?:[^"\\]|\\[\s\S])*"/, "'": /^[^']*'/ };
/** `enckey 0x…` of ipsec, `auth-trunc hmac(sha256) 0x… 96` of `ip xfrm state`, `aead rfc4106(gcm(aes)) 0x… 128`. */
const IPSEC_KEY =
  /(\b(?:enckey|authkey|enc|auth|auth-trunc|aead|comp)["']?\s{0,4}[:=]?\s{0,4}(?:["']?[\w()-]{1,64}["']?\s{1,4})?)(0x[0-9a-f]{8,})/gi;
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
  /** The quote that ends the secret value which the text before was cut in. */
  #quote: string | undefined;
  #dropped = 0;

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
    const open = this.#dropKeys(this.#dropValue(text));
    this.#quote ??= OPEN_VALUE.exec(open)?.[1]?.[0];
    return [AUTHORIZATION, COOKIE, BEARER, IPSEC_KEY, FLAG, ASSIGNMENT, COUNTED_ASSIGNMENT, USERINFO].reduce(
      (cleaned, pattern) => this.#mask(cleaned, pattern),
      open,
    );
  }

  /** What is left of a quoted value on several lines; its first one is masked already. */
  #dropValue(text: string): string {
    if (this.#quote === undefined) {
      this.#dropped = 0;
      return text;
    }
    const end = VALUE_END[this.#quote]?.exec(text);
    if (end === null || end === undefined) {
      this.#dropped += text.length;
      if (this.#dropped > VALUE_CHARS) this.#quote = undefined;
      return '';
    }
    this.#quote = undefined;
    return text.slice(end[0].length);
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
