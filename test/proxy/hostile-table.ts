import { helloFor } from './tls/hello-bytes.ts';

export const HONEST = 'GET /v1/honest HTTP/1.1\r\nHost: h\r\n\r\n';
export const SMUGGLED = 'GET /admin HTTP/1.1\r\nHost: h\r\n\r\n';

export interface Hostile {
  readonly what: string;
  readonly bytes: string;
  /** Of the last answer. */
  readonly status: number;
  /** What may reach the server; default nothing. */
  readonly reaches?: string;
}

export const post = (fields: string, body: string): string =>
  `POST /v1/a HTTP/1.1\r\nHost: h\r\n${fields}\r\n\r\n${body}`;
export const role = (fields: string): string => `GET /role/a HTTP/1.1\r\nHost: h\r\n${fields}\r\n\r\n`;
const get = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: h\r\n\r\n`;

const FRAMING: readonly Hostile[] = [
  {
    what: 'Content-Length and Transfer-Encoding',
    bytes: post('Content-Length: 5\r\nTransfer-Encoding: chunked', `0\r\n\r\n${SMUGGLED}`),
    status: 400,
  },
  {
    what: 'Transfer-Encoding and Content-Length',
    bytes: post('Transfer-Encoding: chunked\r\nContent-Length: 5', `0\r\n\r\n${SMUGGLED}`),
    status: 400,
  },
  {
    what: 'two different Content-Lengths',
    bytes: post('Content-Length: 0\r\nContent-Length: 44', SMUGGLED),
    status: 400,
  },
  {
    what: 'the same Content-Length twice',
    bytes: post('Content-Length: 2\r\nContent-Length: 2', 'ab'),
    status: 400,
  },
  { what: 'a list of Content-Lengths', bytes: post('Content-Length: 2, 2', 'ab'), status: 400 },
  { what: 'a negative Content-Length', bytes: post('Content-Length: -1', SMUGGLED), status: 400 },
  { what: 'a Content-Length with a plus', bytes: post('Content-Length: +2', 'ab'), status: 400 },
  { what: 'a hexadecimal Content-Length', bytes: post('Content-Length: 0x10', 'ab'), status: 400 },
  { what: 'a Content-Length with a fraction', bytes: post('Content-Length: 2.0', 'ab'), status: 400 },
  { what: 'a Content-Length with a space inside', bytes: post('Content-Length: 1 2', 'ab'), status: 400 },
  { what: 'an empty Content-Length', bytes: post('Content-Length: ', SMUGGLED), status: 400 },
  {
    what: 'a Content-Length of 30 digits',
    bytes: post(`Content-Length: ${'9'.repeat(30)}`, 'ab'),
    status: 400,
  },
  { what: 'Content-Length with an underscore', bytes: post('Content_Length: 44', SMUGGLED), status: 400 },
  {
    what: 'Transfer-Encoding with an underscore',
    bytes: post('Transfer_Encoding: chunked', SMUGGLED),
    status: 400,
  },
  {
    what: 'chunked, identity',
    bytes: post('Transfer-Encoding: chunked, identity', `0\r\n\r\n${SMUGGLED}`),
    status: 400,
  },
  { what: 'identity', bytes: post('Transfer-Encoding: identity\r\nContent-Length: 2', 'ab'), status: 400 },
  {
    what: 'gzip, chunked',
    bytes: post('Transfer-Encoding: gzip, chunked', `0\r\n\r\n${SMUGGLED}`),
    status: 400,
  },
  {
    what: 'two Transfer-Encodings',
    bytes: post('Transfer-Encoding: chunked\r\nTransfer-Encoding: identity', `0\r\n\r\n${SMUGGLED}`),
    status: 400,
  },
  {
    what: 'a Transfer-Encoding behind a tab',
    bytes: post('Transfer-Encoding:\tchunked', `0\r\n\r\n${SMUGGLED}`),
    status: 400,
  },
  {
    what: 'a Transfer-Encoding behind two spaces',
    bytes: post('Transfer-Encoding:  chunked', `0\r\n\r\n${SMUGGLED}`),
    status: 400,
  },
  {
    what: 'a Transfer-Encoding before a tab',
    bytes: post('Transfer-Encoding: chunked\t', `0\r\n\r\n${SMUGGLED}`),
    status: 400,
  },
  {
    what: 'a Transfer-Encoding before a space',
    bytes: post('Transfer-Encoding: chunked ', `0\r\n\r\n${SMUGGLED}`),
    status: 400,
  },
  { what: 'a Content-Length behind a tab', bytes: post('Content-Length:\t44', SMUGGLED), status: 400 },
  { what: 'a Content-Length before a tab', bytes: post('Content-Length: 44 \t', SMUGGLED), status: 400 },
  {
    what: 'a quoted Transfer-Encoding',
    bytes: post('Transfer-Encoding: "chunked"', `0\r\n\r\n${SMUGGLED}`),
    status: 400,
  },
  { what: 'xchunked', bytes: post('Transfer-Encoding: xchunked', `0\r\n\r\n${SMUGGLED}`), status: 400 },
  {
    what: 'a Transfer-Encoding with a vertical tab',
    bytes: post('Transfer-Encoding: \x0bchunked', `0\r\n\r\n${SMUGGLED}`),
    status: 400,
  },
  {
    what: 'a folded Transfer-Encoding',
    bytes: post('Transfer-Encoding:\r\n chunked', `0\r\n\r\n${SMUGGLED}`),
    status: 400,
  },
  {
    what: 'a field folded behind another',
    bytes: post('X: y\r\n Transfer-Encoding: chunked', SMUGGLED),
    status: 400,
  },
  {
    what: 'a Transfer-Encoding in HTTP/1.0',
    bytes: `POST /v1/a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
    status: 400,
  },
  {
    what: 'Connection: Content-Length',
    bytes: post('Connection: close, Content-Length\r\nContent-Length: 2', 'ab'),
    status: 400,
  },
  { what: 'Connection: Host', bytes: post('Connection: host', ''), status: 400 },
];

/** Fields that servers of CGI's kind take for the one that a rule is about. */
const DISGUISES: readonly Hostile[] = [
  { what: 'X_Role beside X-Role', bytes: role('X-Role: user\r\nX_Role: admin'), status: 403 },
  { what: 'X_Role before X-Role', bytes: role('x_role: admin\r\nx-role: user'), status: 403 },
  { what: 'X_Role in its place', bytes: role('X_Role: user'), status: 403 },
  { what: 'X.Role beside X-Role', bytes: role('X-Role: user\r\nX.Role: admin'), status: 403 },
  { what: 'X`Role beside X-Role', bytes: role('X-Role: user\r\nX`Role: admin'), status: 403 },
  { what: 'Connection: X-Role', bytes: role('X-Role: user\r\nConnection: keep-alive, X-Role'), status: 403 },
  { what: 'Connection: x-role first', bytes: role('Connection: x-role\r\nX-Role: user'), status: 403 },
  { what: 'Content.Length', bytes: post('Content.Length: 44', SMUGGLED), status: 400 },
  { what: 'Transfer!Encoding', bytes: post('Transfer!Encoding: chunked', SMUGGLED), status: 400 },
];

const LINES: readonly Hostile[] = [
  { what: 'a space before the colon', bytes: post('Content-Length : 44', SMUGGLED), status: 400 },
  { what: 'a tab before the colon', bytes: post('Transfer-Encoding\t: chunked', SMUGGLED), status: 400 },
  { what: 'a field without a colon', bytes: post('nonsense', ''), status: 400 },
  { what: 'a field without a name', bytes: post(': x', ''), status: 400 },
  { what: 'a NUL in a name', bytes: post('Trans\x00fer-Encoding: chunked', ''), status: 400 },
  { what: 'a NUL in a value', bytes: post('X: a\x00b', ''), status: 400 },
  { what: 'a control character in a value', bytes: post('X: a\x01b', ''), status: 400 },
  { what: 'a CR alone in a value', bytes: post('X: a\rContent-Length: 44', SMUGGLED), status: 400 },
  { what: 'an LF alone in a value', bytes: post('X: a\nContent-Length: 44', SMUGGLED), status: 400 },
  { what: 'lines that end with LF', bytes: 'GET /v1/a HTTP/1.1\nHost: h\n\n', status: 400 },
  { what: 'CR CR LF', bytes: 'GET /v1/a HTTP/1.1\r\r\nHost: h\r\n\r\n', status: 400 },
  { what: 'a space before the first field', bytes: `GET /v1/a HTTP/1.1\r\n Host: h\r\n\r\n`, status: 400 },
  { what: 'bytes over 0x7F in a name', bytes: post('Transfer\xe2Encoding: chunked', ''), status: 400 },
  { what: 'no Host', bytes: 'GET /v1/a HTTP/1.1\r\n\r\n', status: 400 },
  { what: 'two Hosts', bytes: 'GET /v1/a HTTP/1.1\r\nHost: h\r\nHost: evil\r\n\r\n', status: 400 },
  { what: 'the same Host twice', bytes: 'GET /v1/a HTTP/1.1\r\nHost: h\r\nhost: h\r\n\r\n', status: 400 },
  { what: 'a Host with a path', bytes: 'GET /v1/a HTTP/1.1\r\nHost: h/evil\r\n\r\n', status: 400 },
  { what: 'a Host with a user', bytes: 'GET /v1/a HTTP/1.1\r\nHost: h@evil\r\n\r\n', status: 400 },
  { what: 'two hosts in one Host', bytes: 'GET /v1/a HTTP/1.1\r\nHost: h, evil\r\n\r\n', status: 400 },
  {
    what: 'head of 100,000 bytes',
    bytes: `GET /v1/a HTTP/1.1\r\nHost: h\r\nX: ${'a'.repeat(100_000)}\r\n\r\n`,
    status: 431,
  },
  {
    what: 'a target of 100,000 bytes',
    bytes: `GET /v1/${'a'.repeat(100_000)} HTTP/1.1\r\nHost: h\r\n\r\n`,
    status: 431,
  },
  {
    what: '101 fields',
    bytes: `GET /v1/a HTTP/1.1\r\nHost: h\r\n${'X: a\r\n'.repeat(100)}\r\n`,
    status: 431,
  },
  { what: 'another expectation', bytes: post('Expect: 200-ok\r\nContent-Length: 2', 'ab'), status: 417 },
];

const REQUEST_LINES: readonly Hostile[] = [
  { what: 'two spaces in the request line', bytes: 'GET  /v1/a HTTP/1.1\r\nHost: h\r\n\r\n', status: 400 },
  { what: 'a tab in the request line', bytes: 'GET\t/v1/a\tHTTP/1.1\r\nHost: h\r\n\r\n', status: 400 },
  { what: 'a space in the target', bytes: get('/v1/a /admin'), status: 505 },
  { what: 'a space before the method', bytes: ` ${HONEST}`, status: 400 },
  { what: 'no version', bytes: 'GET /v1/a\r\nHost: h\r\n\r\n', status: 400 },
  { what: 'HTTP/0.9', bytes: 'GET /v1/a HTTP/0.9\r\nHost: h\r\n\r\n', status: 505 },
  { what: 'HTTP/1.2', bytes: 'GET /v1/a HTTP/1.2\r\nHost: h\r\n\r\n', status: 505 },
  { what: 'HTTP/2.0', bytes: 'GET /v1/a HTTP/2.0\r\nHost: h\r\n\r\n', status: 505 },
  { what: 'http/1.1 in lower case', bytes: 'GET /v1/a http/1.1\r\nHost: h\r\n\r\n', status: 505 },
  { what: 'bytes behind the version', bytes: 'GET /v1/a HTTP/1.1 x\r\nHost: h\r\n\r\n', status: 505 },
  { what: 'a bracket in the method', bytes: 'G(T /v1/a HTTP/1.1\r\nHost: h\r\n\r\n', status: 400 },
  { what: 'a whole TLS hello', bytes: helloFor('h').toString('latin1'), status: 400 },
  { what: 'a TLS hello', bytes: '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n', status: 400 },
  { what: 'CONNECT', bytes: `CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n${SMUGGLED}`, status: 405 },
  { what: 'CONNECT with a path', bytes: `CONNECT /v1/a HTTP/1.1\r\nHost: h\r\n\r\n${SMUGGLED}`, status: 405 },
  { what: 'absolute form of another host', bytes: get('http://evil/v1/a'), status: 400 },
  { what: 'absolute form of another scheme', bytes: get('https://h/v1/a'), status: 400 },
  { what: 'absolute form with a user', bytes: get('http://h@evil/v1/a'), status: 400 },
  { what: 'absolute form of a denied path', bytes: get('http://h/admin'), status: 403 },
  { what: 'a target without a slash', bytes: get('v1/a'), status: 400 },
  { what: 'GET *', bytes: get('*'), status: 400 },
  { what: 'OPTIONS *, which no rule allows', bytes: 'OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n', status: 403 },
  { what: 'a method in lower case', bytes: 'get /v1/a HTTP/1.1\r\nHost: h\r\n\r\n', status: 403 },
  { what: 'a denied method', bytes: 'DELETE /v1/a HTTP/1.1\r\nHost: h\r\n\r\n', status: 403 },
];

const PATHS: readonly Hostile[] = [
  ...(
    [
      ['/v1/../admin', 'dot segments'],
      ['/v1/./../admin', 'mixed dot segments'],
      ['/v1/..', 'a final dot segment'],
      ['/v1/%2e%2e/admin', 'encoded dots'],
      ['/v1/%2E./admin', 'half-encoded dots'],
      ['/v1/..%2fadmin', 'an encoded slash behind dots'],
      ['/v1/a%2F..%2Fadmin', 'encoded slashes'],
      ['/v1/%5c..%5cadmin', 'encoded backslashes'],
      ['/v1/..\\admin', 'a backslash'],
      ['/v1//admin', 'an empty segment'],
      ['//admin/v1/', 'an empty first segment'],
      ['/v1/..;/admin', 'dots with parameters'],
      ['/v1/..%20/admin', 'dots before a blank'],
      ['/v1/%20../admin', 'dots behind a blank'],
      ['/v1/%2e%2e%20;x/admin', 'encoded dots, a blank and parameters'],
      ['/v1/..%20', 'dots and a blank at the end'],
      ['/v1/%20/admin', 'a segment of one blank'],
      ['/v1/..%09/admin', 'dots before a tab'],
      ['/v1/..%00/admin', 'dots before a NUL'],
      ['/v1/;x/../admin', 'a segment of parameters'],
      ['/v1/a%00.html', 'an encoded NUL'],
      ['/v1/a%0d%0aX:%20y', 'encoded line ends'],
      ['/v1/%c0%ae%c0%ae/admin', 'overlong dots'],
      ['/v1/%c0%af', 'an overlong slash'],
      ['/v1/%e0%80%af', 'a longer overlong slash'],
      ['/v1/%ed%a0%80', 'a surrogate'],
      ['/v1/%ff', 'no UTF-8'],
      ['/v1/%252e%252e%252fadmin', 'doubly encoded dots'],
      ['/v1/%25%32%65%25%32%65/admin', 'doubly encoded dots whose digits are encoded'],
      ['/v1/%252%65%252%65/admin', 'doubly encoded dots of which one digit is encoded'],
      ['/v1/%25%75002e%25u002e/admin', 'dots in the encoding of another age, encoded'],
      ['/v1/%EF%BC%8E%EF%BC%8E/admin', 'dots of full width'],
      ['/v1/.%E2%80%A4/admin', 'a dot and a one dot leader'],
      ['/v1/%E2%80%A5%EF%BC%8Fadmin', 'a two dot leader before a slash of full width'],
      ['/v1/..%C2%A0/admin', 'dots before a blank that does not break'],
      ['/v1/a%EF%BC%BC..%EF%BC%BCadmin', 'dots between backslashes of full width'],
      ['/v1/..%E2%80%8B/admin', 'dots before a space without width'],
      ['/v1/.%C2%AD./admin', 'a soft hyphen between dots'],
      ['/v1/%E3%80%82%EF%BD%A1/admin', 'ideographic full stops'],
      ['/v1/..%E2%81%84admin', 'dots before a fraction slash'],
      ['/v1/a%E2%88%95..%E2%88%95admin', 'dots between division slashes'],
      ['/v1/..%C2%A5admin', 'dots before a yen sign, a backslash to some'],
      ['/v1/..%3F/admin', 'dots before an encoded question mark'],
      ['/v1/%2e%2e%23x/admin', 'encoded dots before an encoded number sign'],
      ['/v1/%', 'a lone percent'],
      ['/v1/%zz', 'a bad percent-encoding'],
      ['/v1/%u002e', 'the encoding of another age'],
      ['/v1/a#/../admin', 'a fragment'],
      ['/v1/\xe9', 'a byte over 0x7F'],
      ['/v1/a\x7f', 'DEL'],
      ['/v1/a?q=\xe9', 'a byte over 0x7F in the query'],
    ] as const
  ).map(([path, what]) => ({ what: `${what}: ${JSON.stringify(path)}`, bytes: get(path), status: 400 })),
  { what: 'a denied path that only looks like the prefix', bytes: get('/v1'), status: 403 },
  { what: 'the path in another case', bytes: get('/V1/a'), status: 403 },
  { what: 'an encoded letter of a denied path', bytes: get('/%61dmin'), status: 403 },
];

const BODIES: readonly Hostile[] = [
  {
    what: 'a body of a denied request that looks like a request',
    bytes: `POST /admin HTTP/1.1\r\nHost: h\r\nContent-Length: ${HONEST.length}\r\n\r\n${HONEST}`,
    status: 403,
  },
  {
    what: 'chunks of a denied request that look like a request',
    bytes: `POST /admin HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n${HONEST.length.toString(16)}\r\n${HONEST}\r\n0\r\n\r\n`,
    status: 403,
  },
  {
    what: 'a denied request that waits for 100',
    bytes: `POST /admin HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: ${HONEST.length}\r\n\r\n${HONEST}`,
    status: 403,
  },
  {
    what: 'an upgrade that no rule allows',
    bytes: `GET /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n${HONEST}`,
    status: 403,
  },
  {
    what: 'an upgrade by POST',
    bytes: `POST /v1/a HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n${SMUGGLED}`,
    status: 400,
  },
  {
    what: 'an upgrade with a body',
    bytes: `GET /v1/a HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 4\r\n\r\nabcd`,
    status: 400,
  },
  {
    what: 'an upgrade without its token',
    bytes: 'GET /v1/a HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n',
    status: 400,
  },
  {
    what: 'an upgrade to HTTP/2 among others',
    bytes: 'GET /v1/a HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket, h2c\r\n\r\n',
    status: 400,
  },
  { what: 'a denied request behind an allowed one', bytes: HONEST + SMUGGLED, status: 403, reaches: HONEST },
  {
    what: 'a malformed request behind an allowed one',
    bytes: `${HONEST}GET /v1/a HTTP/1.1\nHost: h\n\n`,
    status: 400,
    reaches: HONEST,
  },
  {
    what: 'a preface of HTTP/2 behind a request',
    bytes: `${HONEST}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`,
    status: 505,
    reaches: HONEST,
  },
];

/** All that is refused as one whole request. */
export const TABLE: readonly Hostile[] = [
  ...FRAMING,
  ...DISGUISES,
  ...LINES,
  ...REQUEST_LINES,
  ...PATHS,
  ...BODIES,
];

/** Bodies whose framing goes wrong behind an acceptable head: the head may reach the server, a whole request never. */
export const BAD_CHUNKS: readonly (readonly [what: string, chunks: string])[] = [
  ['a huge chunk size', 'ffffffffffffffff\r\n'],
  ['a chunk size of 17 digits', '00000000000000002\r\nab\r\n0\r\n\r\n'],
  ['a negative chunk size', '-1\r\n'],
  ['a chunk size with 0x', '0x2\r\nab\r\n0\r\n\r\n'],
  ['a chunk size with a space', '2 \r\nab\r\n0\r\n\r\n'],
  ['no chunk size', '\r\nab\r\n0\r\n\r\n'],
  ['a chunk line that ends with LF', '2\nab\r\n0\r\n\r\n'],
  ['a chunk longer than its size', '2\r\nabc\r\n0\r\n\r\n'],
  ['an LF in a chunk extension', `2;x=\n${'ab'}\r\n0\r\n\r\n`],
  ['a chunk extension of 5,000 bytes', `2;${'x'.repeat(5000)}\r\nab\r\n0\r\n\r\n`],
  ['Content-Length in a trailer', '0\r\nContent-Length: 44\r\n\r\n'],
  ['Content_Length in a trailer', '0\r\nContent_Length: 44\r\n\r\n'],
  ['Transfer.Encoding in a trailer', '0\r\nTransfer.Encoding: chunked\r\n\r\n'],
  ['a folded trailer', '0\r\nX: y\r\n z\r\n\r\n'],
  ['a NUL in a trailer', '0\r\nX: \x00\r\n\r\n'],
  ['trailers of 20,000 bytes', `0\r\n${'X: y\r\n'.repeat(4000)}\r\n`],
];
