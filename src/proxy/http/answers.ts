import type { Clock } from '../types.ts';

const REASONS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  403: 'Forbidden',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  417: 'Expectation Failed',
  431: 'Request Header Fields Too Large',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  505: 'HTTP Version Not Supported',
};

const BODIES: Readonly<Record<number, string>> = {
  403: 'Access denied\r\n',
  503: 'Upstream cannot be reached\r\n',
};

/** Answers of the proxy's own. */
export class Answers {
  readonly #clock: Clock;
  #second = 0;
  #date = '';

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `Date` of this second, RFC 9110 §6.6.1. */
  #dateText(): string {
    const second = Math.floor(this.#clock.realtimeMs() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#date = new Date(second * 1000).toUTCString();
    }
    return this.#date;
  }

  /** @param closes whether the connection ends behind it @param headOnly whether HEAD was asked */
  make(status: number, closes: boolean, headOnly = false): Buffer {
    const reason = REASONS[status] ?? '';
    const body = BODIES[status] ?? `${reason}\r\n`;
    const close = closes ? 'connection: close\r\n' : '';
    const text =
      `HTTP/1.1 ${status} ${reason}\r\ncontent-length: ${body.length}\r\ncontent-type: text/plain\r\n` +
      `date: ${this.#dateText()}\r\n${close}\r\n${headOnly ? '' : body}`;
    return Buffer.from(text, 'latin1');
  }
}
