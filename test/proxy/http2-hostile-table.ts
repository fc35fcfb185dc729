import {
  continuation,
  data,
  END_HEADERS,
  END_STREAM,
  type Fields,
  FrameType,
  frame,
  headers,
  hpack,
  hpackField,
  hpackInteger,
  overPadded,
  reset,
  settings,
  windowUpdate,
} from '../support/http2-frames.ts';

/* Hostile HTTP/2, as bytes behind preface and SETTINGS, for a policy that allows GET and POST of /v1/. */

/** What the proxy does with it: an answer, a reset of the stream, or the end of the connection. */
export type Refusal = 'answered' | 'reset' | 'ended';

interface Hostile {
  readonly what: string;
  /** What follows preface and SETTINGS. */
  readonly bytes: Buffer;
  readonly refused: Refusal;
}

export const PSEUDO: Readonly<Record<string, string>> = {
  ':method': 'GET',
  ':scheme': 'http',
  ':authority': 'h',
  ':path': '/v1/a',
};

/** Fields of an allowed request with some of the pseudo fields changed (undefined: left out), and more behind them. */
export function request(
  changes: Readonly<Record<string, string | undefined>> = {},
  more: Fields = [],
): Fields {
  const pseudo = Object.entries({ ...PSEUDO, ...changes });
  return [
    ...pseudo.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const])),
    ...more,
  ];
}

const one = (what: string, fields: Fields, refused: Refusal): Hostile => ({
  what,
  bytes: headers(1, fields),
  refused,
});
const path = (text: string, what: string, refused: Refusal = 'answered'): Hostile =>
  one(`${what}: ${JSON.stringify(text)}`, request({ ':path': text }), refused);
const field = (what: string, name: string, value: string, refused: Refusal = 'reset'): Hostile =>
  one(what, request({}, [[name, value]]), refused);

const PSEUDO_FIELDS: readonly Hostile[] = [
  one('a second :path, denied', request({}, [[':path', '/admin']]), 'reset'),
  one('a second :path, allowed', request({ ':path': '/admin' }, [[':path', '/v1/a']]), 'reset'),
  one('a second :method', request({}, [[':method', 'DELETE']]), 'reset'),
  one('a second :authority', request({}, [[':authority', 'evil']]), 'reset'),
  one('a second :scheme', request({}, [[':scheme', 'https']]), 'reset'),
  one('a Host that differs from :authority', request({}, [['host', 'evil']]), 'answered'),
  one(
    'two Hosts',
    request({ ':authority': undefined }, [
      ['host', 'h'],
      ['host', 'evil'],
    ]),
    'reset',
  ),
  one('no :path', request({ ':path': undefined }), 'reset'),
  one('no :method', request({ ':method': undefined }), 'reset'),
  one('no :scheme', request({ ':scheme': undefined }), 'reset'),
  one('an empty :path', request({ ':path': '' }), 'reset'),
  one('an unknown pseudo field', request({ ':admin': '1' }), 'reset'),
  one('a :status in a request', request({ ':status': '200' }), 'reset'),
  one(
    'a pseudo field behind the others',
    [...request({ ':path': undefined }), ['x', 'y'], [':path', '/v1/a']],
    'reset',
  ),
  one('a pseudo field in upper case', request({ ':path': undefined, ':PATH': '/v1/a' }), 'reset'),
  one(
    'CONNECT',
    [
      [':method', 'CONNECT'],
      [':authority', 'h:80'],
    ],
    'answered',
  ),
  one('CONNECT with a path', request({ ':method': 'CONNECT' }), 'reset'),
  one('extended CONNECT', request({ ':method': 'CONNECT', ':protocol': 'websocket' }), 'reset'),
  one('a :protocol in a GET', request({ ':protocol': 'websocket' }), 'reset'),
  one('an authority with a user', request({ ':authority': 'h@evil' }), 'reset'),
  one('an authority with a path', request({ ':authority': 'h/evil' }), 'reset'),
  one('two hosts in :authority', request({ ':authority': 'h, evil' }), 'reset'),
  one('a method with a space', request({ ':method': 'GET /v1/a' }), 'reset'),
  one('a denied method', request({ ':method': 'DELETE' }), 'answered'),
  one('a denied path', request({ ':path': '/admin' }), 'answered'),
];

const PATHS: readonly Hostile[] = [
  path('/v1/../admin', 'dot segments'),
  path('/v1/%2e%2e/admin', 'encoded dots'),
  path('/v1/..%2fadmin', 'an encoded slash behind dots'),
  path('/v1/%5c..%5cadmin', 'encoded backslashes'),
  path('/v1/..\\admin', 'a backslash'),
  path('/v1//admin', 'an empty segment'),
  path('/v1/..;/admin', 'dots with parameters'),
  path('/v1/%252e%252e/admin', 'doubly encoded dots'),
  path('/v1/%c0%ae%c0%ae/admin', 'overlong dots'),
  path('/v1/a%00', 'an encoded NUL'),
  path('/v1/%', 'a lone percent'),
  path('/v1/a#/../admin', 'a fragment'),
  path('/v1/a /admin', 'a space', 'reset'),
  path('http://h/v1/a', 'absolute form', 'reset'),
  path('http://evil/v1/a', 'absolute form of another host', 'reset'),
  path('v1/a', 'no slash', 'reset'),
  path('*', 'the target of OPTIONS', 'reset'),
  path('/V1/a', 'another case'),
];

const FIELDS: readonly Hostile[] = [
  field('a name in upper case', 'X-Up', '1'),
  field('Transfer-Encoding', 'transfer-encoding', 'chunked'),
  field('Connection', 'connection', 'close'),
  field('Keep-Alive', 'keep-alive', 'timeout=5'),
  field('Proxy-Connection', 'proxy-connection', 'close'),
  field('Upgrade', 'upgrade', 'websocket'),
  field('TE of anything but trailers', 'te', 'gzip'),
  field('HTTP2-Settings', 'http2-settings', 'AAMAAABkAAQAAP__', 'answered'),
  one(
    'two Authorizations, of which one would be passed on',
    request({}, [
      ['authorization', 'Basic YTph'],
      ['authorization', 'Basic YjpiCg=='],
    ]),
    'answered',
  ),
  ...['x_role', 'x.role'].map((name) =>
    one(
      `${name} beside x-role, which a rule is about`,
      request({ ':path': '/role/a' }, [
        ['x-role', 'user'],
        [name, 'admin'],
      ]),
      'answered',
    ),
  ),
  field('a signed Content-Length', 'content-length', '+0'),
  field('a Content-Length without a body', 'content-length', '10'),
  one(
    'two Content-Lengths',
    request({ ':method': 'POST' }, [
      ['content-length', '0'],
      ['content-length', '1'],
    ]),
    'reset',
  ),
];

/** Fields that cannot be written as one: neither rules nor the server see them. */
export const UNWRITABLE: readonly (readonly [what: string, name: string, value: string])[] = [
  ['a NUL in a value', 'x', 'a\0b'],
  ['a line end in a value', 'x', 'a\r\ntransfer-encoding: chunked'],
  ['an LF in a value', 'x', 'a\nb'],
  ['a line end in a name', 'x\r\ny', 'a'],
  ['a colon in a name', 'x:y', 'a'],
  ['an empty name', '', 'a'],
];

const ROOM = 16_000;
const long = (bytes: number): Fields => [['x', 'a'.repeat(bytes)]];
const repeat = (count: number, make: (i: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, i) => make(i)));
const ping = (): Buffer => frame(FrameType.ping, 0, 0, Buffer.alloc(8));

/** An entry of the dynamic table that a block of a few bytes then names a thousand times. */
const BOMB = Buffer.concat([
  hpack(request()),
  hpackField('x', 'a'.repeat(3500), true),
  repeat(1000, () => hpackInteger(62, 7, 0x80)),
]);

const FLOODS: readonly Hostile[] = [
  one(
    '200 fields',
    request(
      {},
      Array.from({ length: 200 }, (_, i) => [`x-${i}`, ''] as const),
    ),
    'reset',
  ),
  {
    what: 'a header list of 100,000 bytes',
    bytes: Buffer.concat([
      headers(1, hpack(request({}, long(ROOM))), END_STREAM),
      repeat(5, () => continuation(1, hpack(long(ROOM)), false)),
      continuation(1, hpack(long(ROOM)), true),
    ]),
    refused: 'answered',
  },
  {
    what: 'CONTINUATION without end',
    bytes: Buffer.concat([
      headers(1, hpack(request()), END_STREAM),
      repeat(2000, () => continuation(1, hpack([['x', 'y']]), false)),
    ]),
    refused: 'ended',
  },
  {
    what: 'empty CONTINUATIONs without end',
    bytes: Buffer.concat([
      headers(1, hpack(request()), END_STREAM),
      repeat(20_000, () => continuation(1, Buffer.alloc(0), false)),
    ]),
    refused: 'ended',
  },
  { what: 'an entry of the table named a thousand times', bytes: headers(1, BOMB), refused: 'reset' },
  {
    what: 'denied requests that are reset at once',
    bytes: repeat(1500, (i) =>
      Buffer.concat([headers(2 * i + 1, request({ ':path': '/admin' })), reset(2 * i + 1)]),
    ),
    refused: 'ended',
  },
  { what: '20,000 SETTINGS', bytes: repeat(20_000, () => settings()), refused: 'ended' },
  { what: '20,000 PINGs', bytes: repeat(20_000, ping), refused: 'ended' },
];

const FRAMES: readonly Hostile[] = [
  {
    what: 'a table of more than was agreed',
    bytes: headers(1, Buffer.concat([hpackInteger(1 << 30, 5, 0x20), hpack(request())])),
    refused: 'ended',
  },
  { what: 'an index that nothing has', bytes: headers(1, hpackInteger(500, 7, 0x80)), refused: 'ended' },
  { what: 'a block cut off', bytes: headers(1, hpack(request()).subarray(0, 20)), refused: 'ended' },
  {
    what: 'a frame between HEADERS and CONTINUATION',
    bytes: Buffer.concat([
      headers(1, request(), END_STREAM),
      ping(),
      continuation(1, hpack([['x', 'y']]), true),
    ]),
    refused: 'ended',
  },
  {
    what: 'CONTINUATION of another stream',
    bytes: Buffer.concat([headers(1, request(), END_STREAM), continuation(3, hpack([['x', 'y']]), true)]),
    refused: 'ended',
  },
  { what: 'HEADERS on stream 0', bytes: headers(0, request()), refused: 'ended' },
  { what: 'HEADERS on a stream of the server', bytes: headers(2, request()), refused: 'ended' },
  { what: 'DATA on stream 0', bytes: data(0, 'GET /admin'), refused: 'ended' },
  { what: 'DATA on a stream that is not open', bytes: data(1, 'GET /admin'), refused: 'ended' },
  {
    what: 'a stream number that goes back',
    bytes: Buffer.concat([headers(5, request({ ':path': '/admin' })), headers(3, request())]),
    refused: 'answered',
  },
  {
    what: 'PUSH_PROMISE of a client',
    bytes: frame(
      FrameType.pushPromise,
      END_HEADERS,
      1,
      Buffer.concat([Buffer.of(0, 0, 0, 2), hpack(request())]),
    ),
    refused: 'ended',
  },
  { what: 'a frame of 100,000 bytes', bytes: headers(1, request({}, long(100_000))), refused: 'ended' },
  {
    what: 'more padding than bytes',
    bytes: Buffer.concat([headers(1, request({ ':path': '/admin' }), END_HEADERS), overPadded(1)]),
    refused: 'ended',
  },
  {
    what: 'a stream that depends on itself',
    bytes: Buffer.concat([frame(FrameType.priority, 0, 1, Buffer.of(0, 0, 0, 1, 0)), reset(1)]),
    refused: 'ended',
  },
  { what: 'a window update of 0', bytes: windowUpdate(0, 0), refused: 'ended' },
  {
    what: 'a window beyond 2^31',
    bytes: Buffer.concat([windowUpdate(0, 0x7fffffff), windowUpdate(0, 0x7fffffff)]),
    refused: 'ended',
  },
  {
    what: 'SETTINGS of half a setting',
    bytes: frame(FrameType.settings, 0, 0, Buffer.alloc(5)),
    refused: 'ended',
  },
  { what: 'a window in SETTINGS beyond 2^31', bytes: settings([4, 0xffffffff]), refused: 'ended' },
  { what: 'a frame size below the least', bytes: settings([5, 1]), refused: 'ended' },
  {
    what: 'HTTP/1.1 behind the preface',
    bytes: Buffer.from('GET /admin HTTP/1.1\r\nHost: h\r\n\r\n'),
    refused: 'ended',
  },
];

export const TABLE = [...PSEUDO_FIELDS, ...PATHS, ...FIELDS, ...FLOODS, ...FRAMES];

/** Requests whose head is acceptable and what follows is not. */
export const LATER: readonly (readonly [what: string, bytes: Buffer])[] = [
  [
    'a body shorter than its length',
    Buffer.concat([
      headers(1, request({ ':method': 'POST' }, [['content-length', '10']]), END_HEADERS),
      data(1, 'abc'),
    ]),
  ],
  [
    'a body longer than its length',
    Buffer.concat([
      headers(1, request({ ':method': 'POST' }, [['content-length', '3']]), END_HEADERS),
      data(1, 'abcGET /admin'),
    ]),
  ],
  [
    'a body in spite of length 0',
    Buffer.concat([
      headers(1, request({ ':method': 'POST' }, [['content-length', '0']]), END_HEADERS),
      data(1, 'GET /admin'),
    ]),
  ],
  [
    'trailers with a :path',
    Buffer.concat([
      headers(1, request({ ':method': 'POST' }), END_HEADERS),
      headers(1, [[':path', '/admin']]),
    ]),
  ],
  [
    'trailers with Transfer-Encoding',
    Buffer.concat([
      headers(1, request({ ':method': 'POST' }), END_HEADERS),
      headers(1, [['transfer-encoding', 'chunked']]),
    ]),
  ],
  ...['x-role', 'x_role'].map(
    (name) =>
      [
        `trailers with ${name}, where a rule is about x-role`,
        Buffer.concat([
          headers(1, request({ ':method': 'POST', ':path': '/role/a' }, [['x-role', 'user']]), END_HEADERS),
          headers(1, [[name, 'admin']]),
        ]),
      ] as const,
  ),
  [
    'trailers with HTTP2-Settings',
    Buffer.concat([
      headers(1, request({ ':method': 'POST' }), END_HEADERS),
      headers(1, [['http2-settings', 'AAMAAABk']]),
    ]),
  ],
  [
    'trailers that do not end the stream',
    Buffer.concat([
      headers(1, request({ ':method': 'POST' }), END_HEADERS),
      headers(1, [['x', 'y']], END_HEADERS),
      data(1, 'GET /admin'),
    ]),
  ],
  [
    'a reset behind half a body',
    Buffer.concat([
      headers(1, request({ ':method': 'POST' }), END_HEADERS),
      data(1, 'half', false),
      reset(1),
    ]),
  ],
  [
    'allowed requests that are reset at once',
    repeat(1500, (i) =>
      Buffer.concat([headers(2 * i + 1, request({ ':method': 'POST' }), END_HEADERS), reset(2 * i + 1)]),
    ),
  ],
];
