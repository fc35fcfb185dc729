import {
  extension,
  hello,
  helloFor,
  helloMessage,
  inRecords,
  nameEntry,
  record,
  serverNames,
  vector,
} from './hello-bytes.ts';

const NAME = 'a.example.org';
const MESSAGE = helloMessage();
const names = (...entries: readonly Buffer[]): Buffer => hello({ extensions: [serverNames(...entries)] });
const changed = (bytes: Buffer, at: number, value: number): Buffer => {
  const copy = Buffer.from(bytes);
  copy[at] = value;
  return copy;
};

/**
 * Beginnings of connections that no rule with server names may let through, whatever name stands in them; `more` are
 * those that are waited for until the time is up. Each with a part of the reason.
 */
export const HOSTILE: readonly (readonly [what: string, bytes: Buffer, reason: RegExp | 'more'])[] = [
  ['plaintext HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: a.example.org\r\n\r\n'), /no TLS/],
  ['the banner of SSH', Buffer.from('SSH-2.0-x\r\n'), /no TLS/],
  ['an SSLv2 hello', Buffer.from([0x80, 0x2e, 1, 3, 1, 0, 21, 0, 0, 0, 16]), /no TLS/],
  ['an alert', record(Buffer.from([1, 0]), 21), /no TLS/],
  ['application data', record(MESSAGE, 23), /no TLS/],
  ['a record of an unknown major version', record(MESSAGE, 22, 0x0201), /no TLS/],
  ['one byte of a hello', hello().subarray(0, 1), 'more'],
  ['half a record header', hello().subarray(0, 4), 'more'],
  ['a hello but for its last byte', hello().subarray(0, -1), 'more'],
  ['a message that promises more than comes', record(helloMessage({}, 5000)), 'more'],
  ['an empty record', Buffer.concat([record(Buffer.alloc(0)), hello()]), /record of 0/],
  [
    'an empty record amid the hello',
    Buffer.concat([record(MESSAGE.subarray(0, 9)), record(Buffer.alloc(0))]),
    /record of 0/,
  ],
  ['a record over 16 KiB', record(Buffer.concat([MESSAGE, Buffer.alloc(16_385)])), /record of/],
  ['a hello of 16 MiB', record(helloMessage({}, 0xffffff)), /hello of 16777215/],
  ['a server hello', record(changed(MESSAGE, 0, 2)), /type 2/],
  ['another message before the hello', record(Buffer.concat([Buffer.from([0, 0, 0, 0]), MESSAGE])), /type 0/],
  [
    'an alert amid the hello',
    Buffer.concat([record(MESSAGE.subarray(0, 20)), record(Buffer.from([1, 0]), 21)]),
    /amid/,
  ],
  [
    'a change of cipher amid the hello',
    Buffer.concat([record(MESSAGE.subarray(0, 20)), record(Buffer.from([1]), 20)]),
    /amid/,
  ],
  ['a second message in the same record', record(Buffer.concat([MESSAGE, MESSAGE])), /behind the hello/],
  ['a message shorter than what is in it', record(helloMessage({}, MESSAGE.length - 5)), /longer|behind/],
  ['bytes behind the extensions', hello({ rest: Buffer.from([0]) }), /behind the list of extensions/],
  ['a hello of version 2', hello({ version: 0x0200 }), /version/],
  ['a session id of 33 bytes', hello({ sessionId: Buffer.alloc(33) }), /session id/],
  ['no cipher suites', hello({ suites: Buffer.alloc(0) }), /cipher suites/],
  ['half a cipher suite', hello({ suites: Buffer.alloc(3) }), /half/],
  ['no compression method', hello({ compression: Buffer.alloc(0) }), /compression/],
  ['a half extension', hello({ extensions: [Buffer.from([0, 0, 0])] }), /longer/],
  ['an extension longer than the list', hello({ extensions: [Buffer.from([0, 16, 0, 9, 1])] }), /longer/],
  [
    'the extension twice',
    hello({ extensions: [serverNames(nameEntry(NAME)), serverNames(nameEntry('b.example.org'))] }),
    /twice/,
  ],
  [
    'another extension twice',
    hello({
      extensions: [
        extension(10, Buffer.alloc(2)),
        serverNames(nameEntry(NAME)),
        extension(10, Buffer.alloc(2)),
      ],
    }),
    /twice/,
  ],
  ['two names', names(nameEntry(NAME), nameEntry('b.example.org')), /more than one/],
  ['the same name twice', names(nameEntry(NAME), nameEntry(NAME)), /more than one/],
  ['a name of another type', names(nameEntry(NAME, 1)), /type 1/],
  ['a name of another type behind it', names(nameEntry(NAME), nameEntry(NAME, 1)), /more than one/],
  ['an empty extension', hello({ extensions: [extension(0, Buffer.alloc(0))] }), /longer/],
  ['an empty list of names', hello({ extensions: [extension(0, vector(2, Buffer.alloc(0)))] }), /0 bytes/],
  ['an empty name', names(nameEntry('')), /0 bytes/],
  [
    'a list longer than the extension',
    hello({ extensions: [extension(0, vector(2, nameEntry(NAME), 99))] }),
    /longer/,
  ],
  [
    'a list shorter than the extension',
    hello({ extensions: [extension(0, vector(2, nameEntry(NAME), 8))] }),
    /behind/,
  ],
  [
    'a name longer than the list',
    hello({
      extensions: [
        extension(0, vector(2, Buffer.concat([Buffer.from([0]), vector(2, Buffer.from(NAME), 99)]))),
      ],
    }),
    /longer/,
  ],
  ['a name with a NUL behind it', helloFor(`${NAME}\0.evil.org`), /no host name/],
  ['a NUL at the end', helloFor(`${NAME}\0`), /no host name/],
  ['a final dot', helloFor(`${NAME}.`), /no host name/],
  ['an empty label', helloFor('a..example.org'), /no host name/],
  ['a blank', helloFor(`${NAME} `), /no host name/],
  ['a port', helloFor(`${NAME}:443`), /no host name/],
  ['a star', helloFor('*.example.org'), /no host name/],
  ['letters beyond ASCII', helloFor('\xe4.example.org'), /no host name/],
  ['a label of 64 letters', helloFor(`${'a'.repeat(64)}.example.org`), /no host name/],
  ['a name of 254 letters', helloFor(`${'a.'.repeat(126)}aa`), /no host name/],
  [
    'a name of 60,000 letters, in records',
    inRecords(helloMessage({ extensions: [serverNames(nameEntry('a'.repeat(60_000)))] }), 16_384),
    /hello of/,
  ],
];
