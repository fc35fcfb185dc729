import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { RetryWatch } from '../../../src/proxy/tls/retry-watch.ts';
import { httpFilter, ingressPolicy, type RawClient, Rig, until } from '../rig.ts';
import { hello, helloFor, helloMessage, inRecords, nameEntry, record, serverNames } from './hello-bytes.ts';

const RETRY_RANDOM = Buffer.from('cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c', 'hex');
const serverHello = (random: Buffer): Buffer =>
  record(Buffer.concat([Buffer.from([2, 0, 0, 38, 3, 3]), random, Buffer.from([0, 0x13, 1, 0])]), 22, 0x0303);
const RETRY = serverHello(RETRY_RANDOM);
const PLAIN = serverHello(Buffer.alloc(32, 5));
const CIPHER_CHANGE = record(Buffer.from([1]), 20, 0x0303);
const EARLY_DATA = record(Buffer.alloc(100, 0xaa), 23, 0x0303);
const FINISHED = record(Buffer.alloc(40, 0xbb), 23, 0x0303);

const NAME = 'a.example.org';
const POLICY = ingressPolicy([
  httpFilter(undefined, { l7: { kind: 'tls', rules: [NAME, '*.example.com'] } }),
]);

/** A server that answers the first bytes of each connection so, and then listens. */
async function start(answer: Buffer): Promise<Rig> {
  const rig = await new Rig({ kind: 'tls' }).start(POLICY);
  const answered = new Set<number>();
  rig.server.answer = (socket, _text, place) => {
    if (!answered.has(place)) socket.write(answer);
    answered.add(place);
  };
  return rig;
}

const heard = (rig: Rig): string => rig.server.text;
const text = (...parts: readonly Buffer[]): string => Buffer.concat(parts).toString('latin1');

async function isReset(client: RawClient): Promise<void> {
  await until('the reset', () => client.closed);
  assert.equal(client.error, 'ECONNRESET');
}

describe('a second hello, which the server asked for', () => {
  it('goes on with what follows when it has the same name, behind a change of cipher or early data too', async () => {
    for (const between of [[], [CIPHER_CHANGE], [EARLY_DATA, CIPHER_CHANGE]]) {
      await using rig = await start(RETRY);
      const client = (await rig.client()).send(helloFor(NAME));
      await until('it is asked again', () => client.text.length === RETRY.length);
      const rest = [...between, inRecords(helloMessage(), 50), FINISHED];
      for (const byte of Buffer.concat(rest)) client.send(Buffer.from([byte]));
      await until('all of it', () => heard(rig) === text(helloFor(NAME), ...rest));
      client.send('unread');
      await until('what follows', () => heard(rig).endsWith('unread'));
      assert.equal(rig.records.length, 1);
      client.socket.end();
      await until('its end', () => rig.server.connections[0]?.ended === true);
    }
  });

  const OTHERS: readonly (readonly [what: string, bytes: Buffer, reason: RegExp])[] = [
    ['another name', helloFor('b.example.org'), /no rule allows it/],
    ['no name', hello({ extensions: [] }), /no server name/],
    [
      'two names',
      hello({ extensions: [serverNames(nameEntry(NAME), nameEntry('b.example.org'))] }),
      /more than one server name/,
    ],
    ['another name in pieces', inRecords(helloFor('b.example.org').subarray(5), 7), /no rule allows it/],
    ['bytes behind it', record(Buffer.concat([helloMessage(), helloMessage()])), /behind the hello/],
    ['an alert in its place', record(Buffer.from([2, 40]), 21), /no TLS/],
    ['another message in its place', record(Buffer.from([11, 0, 0, 0])), /type 11/],
    ['early data without end', Buffer.concat(Array(700).fill(EARLY_DATA)), /no second hello/],
  ];
  for (const [what, bytes, reason] of OTHERS) {
    it(`is reset with ${what}, and the server hears nothing of it`, async () => {
      await using rig = await start(RETRY);
      const client = (await rig.client()).send(helloFor(NAME));
      await until('it is asked again', () => client.text.length === RETRY.length);
      client.send(CIPHER_CHANGE).send(bytes);
      await isReset(client);
      assert.equal(heard(rig), text(helloFor(NAME)));
      await until('the server knows', () => rig.server.connections[0]?.closed === true);
      assert.deepEqual(
        rig.records.map(({ verdict }) => verdict),
        ['forwarded', 'denied'],
      );
      assert.match(rig.records[1]?.reason ?? '', reason);
    });

    it(`is reset with ${what} that came before it was asked for, in the segment of the first`, async () => {
      await using rig = await start(RETRY);
      const client = (await rig.client()).send(Buffer.concat([helloFor(NAME), CIPHER_CHANGE, bytes]));
      await isReset(client);
      assert.equal(heard(rig), text(helloFor(NAME)));
    });
  }

  it('may have another name that is allowed, and is recorded under it', async () => {
    await using rig = await start(RETRY);
    const client = (await rig.client()).send(helloFor(NAME));
    await until('it is asked again', () => client.text.length === RETRY.length);
    client.send(helloFor('b.example.com'));
    await until('the server has it', () => heard(rig) === text(helloFor(NAME), helloFor('b.example.com')));
    const names = rig.records.map(({ verdict, l7 }) => [verdict, l7.kind === 'tls' && l7.serverName]);
    assert.deepEqual(names, [
      ['forwarded', NAME],
      ['forwarded', 'b.example.com'],
    ]);
    client.socket.destroy();
  });

  it('that never comes ends the connection with its client', async () => {
    await using rig = await start(RETRY);
    const client = (await rig.client()).send(helloFor(NAME));
    client.socket.end();
    await until('its end', () => client.closed);
    await until('the server knows', () => rig.server.connections[0]?.closed === true);
    assert.match(rig.records[1]?.reason ?? '', /ended amid its hello/);
  });
});

const PSK = { psk: Buffer.alloc(32, 1), identity: 'test' };

/** A server of OpenSSL that knows other groups of keys than its clients guess; with what it answered so far. */
async function startOpenSsl(rig: Rig) {
  const server = createTlsServer(
    { ciphers: 'PSK', ecdhCurve: 'P-384', minVersion: 'TLSv1.3', pskCallback: () => PSK.psk },
    (socket) => socket.on('error', () => undefined).end(`hello ${socket.servername}`),
  );
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  let answered = '';
  const ways = new Map<number, { readonly way: Socket; seen: number }>();
  rig.server.answer = (socket, all, place) => {
    const known = ways.get(place) ?? { way: connect(port, '127.0.0.1'), seen: 0 };
    if (!ways.has(place)) {
      known.way.on('error', () => undefined).on('end', () => socket.end());
      known.way.on('data', (bytes: Buffer) => {
        answered += bytes.toString('latin1');
        socket.write(bytes);
      });
    }
    ways.set(place, known);
    known.way.write(Buffer.from(all.slice(known.seen), 'latin1'));
    known.seen = all.length;
  };
  const close = async (): Promise<void> => {
    for (const { way } of ways.values()) way.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return { answered: () => answered, close };
}

describe('a second hello between a client and a server of OpenSSL', () => {
  it('passes, and so does all that follows', async () => {
    await using rig = await new Rig({ kind: 'tls' }).start(POLICY);
    const server = await startOpenSsl(rig);
    const { socket } = await rig.client();
    socket.removeAllListeners('data');
    const client = connectTls({
      ...{ socket, servername: NAME, ecdhCurve: 'X25519:P-384', ciphers: 'PSK:TLS_AES_128_GCM_SHA256' },
      ...{ minVersion: 'TLSv1.3', pskCallback: () => PSK, checkServerIdentity: () => undefined },
    });
    let got = '';
    client.on('data', (bytes: Buffer) => {
      got += bytes.toString('latin1');
    });
    client.on('error', () => undefined);
    await until('the answer', () => got === `hello ${NAME}`);
    assert.ok(server.answered().includes(RETRY_RANDOM.toString('latin1')), 'it was asked again');
    client.destroy();
    await server.close();
  });
});

describe('what a client sends behind its hello', () => {
  it('waits for the answer of the server, and goes on unread when that asks for no other hello', async () => {
    for (const answer of [PLAIN, PLAIN.subarray(0, 1), record(Buffer.from([2, 40]), 21), Buffer.from('x')]) {
      await using rig = await start(Buffer.alloc(0));
      const rest = [helloFor('b.example.org'), Buffer.from('anything')];
      const client = (await rig.client()).send(Buffer.concat([helloFor(NAME), ...rest]));
      await until('the server has the hello', () => heard(rig) === text(helloFor(NAME)));
      client.send('more');
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal(heard(rig), text(helloFor(NAME)), 'the server has not answered yet');
      const [connection] = rig.server.connections;
      for (const byte of answer) connection?.socket.write(Buffer.from([byte]));
      if (answer.length === 1 && answer[0] === 22) connection?.socket.write(PLAIN.subarray(1));
      await until('all of it', () => heard(rig) === text(helloFor(NAME), ...rest, Buffer.from('more')));
      client.socket.destroy();
    }
  });

  it('reaches the server before the end of the client does', async () => {
    await using rig = await start(Buffer.alloc(0));
    const client = (await rig.client()).send(Buffer.concat([helloFor(NAME), Buffer.from('tail')]));
    client.socket.end();
    await until('the server has the hello', () => heard(rig) === text(helloFor(NAME)));
    rig.server.connections[0]?.socket.write(PLAIN);
    await until('its end', () => rig.server.connections[0]?.ended === true);
    assert.equal(heard(rig), text(helloFor(NAME), Buffer.from('tail')));
  });
});

describe('RetryWatch', () => {
  it('tells a server that asks again from every one that does not, however its answer is cut', () => {
    const asks = (answer: Buffer): boolean => {
      const watch = new RetryWatch();
      watch.fromClient(Buffer.from([1]));
      const kinds = [...answer].map((byte) => watch.fromServer(Buffer.from([byte])).kind);
      return !kinds.includes('pass') && !watch.awaitsServer;
    };
    assert.equal(asks(RETRY), true);
    assert.equal(asks(PLAIN), false);
    for (let at = 11; at < 43; at++) {
      const other = Buffer.from(RETRY);
      other[at] = (other[at] ?? 0) ^ 1;
      assert.equal(asks(other), false, `byte ${at}`);
    }
  });
});
