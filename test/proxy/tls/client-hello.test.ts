import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  ClientHelloReader,
  type HelloReading,
  MAX_HELLO_BYTES,
} from '../../../src/proxy/tls/client-hello.ts';
import { testSeed } from '../../support/policy-gen.ts';
import {
  extension,
  hello,
  helloFor,
  helloMessage,
  inRecords,
  nameEntry,
  record,
  serverNames,
} from './hello-bytes.ts';
import { HOSTILE } from './hostile-hellos.ts';

function readAll(chunks: readonly Buffer[]): HelloReading {
  const reader = new ClientHelloReader();
  let reading: HelloReading = { kind: 'more' };
  for (const chunk of chunks) reading = reader.take(chunk);
  return reading;
}

/** What is in the records. */
function unframed(bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at + 5 <= bytes.length; at += 5 + bytes.readUInt16BE(at + 3))
    parts.push(bytes.subarray(at + 5, at + 5 + bytes.readUInt16BE(at + 3)));
  return Buffer.concat(parts);
}

const byteByByte = (bytes: Buffer): Buffer[] => [...bytes].map((byte) => Buffer.from([byte]));
const asksFor = (serverName: string | undefined): HelloReading => ({ kind: 'hello', serverName });

describe('the reader of a ClientHello', () => {
  const message = helloMessage();
  const padded = helloMessage({
    extensions: [extension(21, Buffer.alloc(20_000)), serverNames(nameEntry('far.example.org'))],
  });
  const encrypted = extension(0xfe0d, Buffer.alloc(200, 1));
  const cases: readonly (readonly [what: string, bytes: Buffer, serverName: string | undefined])[] = [
    ['in one record', hello(), 'a.example.org'],
    ['in records of one byte', inRecords(message, 1), 'a.example.org'],
    ['in records of 7 bytes', inRecords(message, 7), 'a.example.org'],
    ['of 20 KB in two records', inRecords(padded, 16_384), 'far.example.org'],
    ['in upper case', helloFor('A.Example.ORG'), 'a.example.org'],
    ['of one label', helloFor('localhost'), 'localhost'],
    ['of the longest name', helloFor(`${'a.'.repeat(126)}a`), `${'a.'.repeat(126)}a`],
    ['with early data behind it', Buffer.concat([hello(), record(Buffer.alloc(50), 23)]), 'a.example.org'],
    [
      'with an encrypted hello inside: the outer name',
      hello({ extensions: [encrypted, serverNames(nameEntry('outer.example.org'))] }),
      'outer.example.org',
    ],
    ['without the extension', hello({ extensions: [extension(10, Buffer.alloc(2))] }), undefined],
    ['without extensions', hello({ extensions: [] }), undefined],
    ['without the part of extensions', hello({ extensions: undefined }), undefined],
    ['of SSL 3.0', record(helloMessage({ version: 0x0300 }), 22, 0x0300), 'a.example.org'],
  ];
  for (const [what, bytes, serverName] of cases)
    it(`finds the name of one ${what}, at once and byte by byte`, () => {
      assert.deepEqual(readAll([bytes]), asksFor(serverName));
      assert.deepEqual(readAll(byteByByte(bytes)), asksFor(serverName));
    });

  it('keeps every byte, also those behind the hello', () => {
    const bytes = Buffer.concat([hello(), Buffer.from('behind')]);
    const reader = new ClientHelloReader();
    for (const byte of byteByByte(bytes)) reader.take(byte);
    assert.deepEqual(Buffer.concat([reader.bytes, reader.rest]), bytes);
  });

  it('holds no more than a hello of the greatest size and its records', () => {
    const reader = new ClientHelloReader();
    const endless = record(Buffer.concat([Buffer.from([1, 0, MAX_HELLO_BYTES >> 8, 0]), Buffer.alloc(1000)]));
    reader.take(endless);
    let reading: HelloReading = { kind: 'more' };
    for (let i = 0; i < 100 && reading.kind === 'more'; i++)
      reading = reader.take(record(Buffer.alloc(1000)));
    assert.equal(reading.kind, 'bad');
    assert.ok(reader.bytes.length < 2 * MAX_HELLO_BYTES);
  });

  for (const [what, bytes, reason] of HOSTILE)
    it(`reads no name off ${what}, at once and byte by byte`, () => {
      for (const reading of [readAll([bytes]), readAll(byteByByte(bytes))]) {
        if (reason === 'more') assert.equal(reading.kind, 'more');
        else assert.ok(reading.kind === 'bad' && reason.test(reading.reason), JSON.stringify(reading));
      }
    });

  it('reads the same however the bytes are cut, and never another name than the one that is there', () => {
    const seed = testSeed();
    const good = fc.constantFrom(hello(), inRecords(message, 5), helloFor('b.example.org'));
    const noise = fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 3 });
    fc.assert(
      fc.property(good, noise, fc.array(fc.nat(400), { maxLength: 6 }), (bytes, changes, cuts) => {
        const changed = Buffer.from(bytes);
        for (const [at, value] of changes) if (at < changed.length) changed[at] = value;
        const places = [0, ...cuts.filter((at) => at < changed.length).sort((a, b) => a - b), changed.length];
        const chunks = places.slice(1).map((end, i) => changed.subarray(places[i], end));
        const whole = readAll([changed]);
        assert.deepEqual(readAll(chunks), whole);
        if (whole.kind === 'hello' && whole.serverName !== undefined)
          assert.ok(unframed(changed).toString('latin1').toLowerCase().includes(whole.serverName));
      }),
      { seed, numRuns: 5000 },
    );
  });
});
