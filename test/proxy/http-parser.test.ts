import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { DEFAULT_LIMITS } from '../../src/proxy/http/limits.ts';
import type { RequestHead } from '../../src/proxy/http/request-head.ts';
import { type HeadAction, type IntakeHost, RequestIntake } from '../../src/proxy/http/request-intake.ts';

/** What an intake does with a stream that comes in the given pieces: heads seen, bytes passed on, how it ended. */
class Trace implements IntakeHost {
  readonly heads: string[] = [];
  passed = '';
  ended = 0;
  problem = '';

  onHead(head: RequestHead): HeadAction {
    const fields = Array.from({ length: head.count }, (_, place) =>
      [head.bytes.toString('latin1', head.nameStart(place), head.nameEnd(place)), head.value(place)].join(
        '=',
      ),
    );
    this.heads.push([head.method, head.understood.path, head.hostText, head.minor, ...fields].join('|'));
    return head.understood.path.startsWith('/denied') ? { kind: 'discard' } : { kind: 'forward', fields: [] };
  }

  onRequestProblem(status: number, reason: string): void {
    this.problem = `${status} ${reason}`;
  }

  onRequestEnd(): void {
    this.ended++;
  }

  forward(bytes: Buffer): void {
    this.passed += bytes.toString('latin1');
  }

  blocked(): boolean {
    return false;
  }
}

function run(pieces: readonly string[]): Trace {
  const trace = new Trace();
  const intake = new RequestIntake(trace, DEFAULT_LIMITS);
  for (const piece of pieces) intake.take(Buffer.from(piece, 'latin1'));
  return trace;
}

/** As {@link run}, without what depends on where pieces end: how much of a body went on before it turned bad. */
function outcome(pieces: readonly string[]): object {
  const { heads, ended, problem, passed } = run(pieces);
  return { heads, ended, problem, passed: problem === '' ? passed : passed.slice(0, 0) };
}

const STREAMS = [
  'GET /a HTTP/1.1\r\nHost: h\r\n\r\n',
  '\r\n\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: i\r\nX:\t y \t\r\n\r\n',
  'POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloGET /denied HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n',
  'POST /denied HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\nHost: h\r\n\r\n',
  'POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;x="y"\r\nhello\r\n00A\r\n0123456789\r\n0\r\nT: u\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n',
  'POST /denied HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n',
  'GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n',
  'POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n',
  'GET /a HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n',
  'GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /a HTTP/1.1\nHost: h\r\n\r\n',
];

describe('the reader of requests', () => {
  for (const [i, stream] of STREAMS.entries()) {
    it(`gives the same for stream ${i}, wherever a piece ends`, () => {
      const whole = outcome([stream]);
      for (let at = 1; at < stream.length; at++) {
        assert.deepEqual(outcome([stream.slice(0, at), stream.slice(at)]), whole, `split at ${at}`);
      }
      assert.deepEqual(outcome([...stream]), whole, 'byte by byte');
    });
  }

  it('gives the same for any mixture of streams in any pieces', () => {
    const streams = fc.array(fc.constantFrom(...STREAMS), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(streams, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (parts, sizes) => {
        const stream = parts.join('');
        const pieces: string[] = [];
        for (let at = 0, n = 0; at < stream.length; n++) {
          const size = sizes[n % sizes.length] ?? 1;
          pieces.push(stream.slice(at, at + size));
          at += size;
        }
        assert.deepEqual(outcome(pieces), outcome([stream]));
      }),
    );
  });

  it('passes on nothing that does not begin with a request line and a Host, whatever bytes come', () => {
    const token = fc.constantFrom(
      'GET ',
      '/a',
      ' HTTP/1.1',
      '\r\n',
      '\n',
      '\r',
      'Host: h',
      'Content-Length: 3',
      'Transfer-Encoding: chunked',
      'abc',
      '3',
      '0',
      ' ',
      ':',
      '\x00',
      'POST ',
    );
    fc.assert(
      fc.property(fc.array(token, { maxLength: 40 }), (tokens) => {
        const stream = tokens.join('');
        const { passed } = run([stream]);
        if (passed !== '') assert.match(passed, /^(?:GET|POST)+ \/\S* HTTP\/1\.1\r\n[\s\S]*Host: ?h/);
      }),
      { numRuns: 3000 },
    );
  });

  it('passes on long heads and finds where they end', () => {
    const head = `GET /a HTTP/1.1\r\nHost: h\r\nX: ${'y'.repeat(60_000)}\r\n\r\n`;
    assert.equal(run([head]).passed, head);
    assert.match(run([head.slice(0, 30_000), 'y'.repeat(40_000)]).problem, /^431/);
  });
});
