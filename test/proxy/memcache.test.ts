import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { after, before, describe, it } from 'node:test';
import type { L7Filter, PairRule } from '../../src/model/l7.ts';
import { readTextRequest } from '../../src/proxy/pairs/memcache-text.ts';
import { httpFilter, ingressPolicy, type RawClient, Rig, until } from './rig.ts';

const MEMCACHED = '/usr/bin/memcached';
const skip = existsSync(MEMCACHED) ? false : 'memcached is not installed';

const filter = (rules: readonly PairRule[] | undefined, ruleName = 'default/cache'): L7Filter =>
  httpFilter(undefined, { l7: rules && { kind: 'memcache', rules }, ruleName });

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

async function ask(client: RawClient, text: string | Buffer, wanted: string): Promise<void> {
  const from = client.text.length;
  client.send(text);
  const got = (): string => client.text.slice(from);
  await until(`${JSON.stringify(wanted)}, got ${JSON.stringify(got())}`, () => got().length >= wanted.length);
  assert.equal(got(), wanted);
}

interface Packet {
  readonly key?: string;
  readonly extras?: Buffer;
  readonly value?: string;
  readonly opaque?: number;
  readonly magic?: number;
  readonly keyBytes?: number;
}

/** A request of the binary protocol. */
function packet(opcode: number, parts: Packet = {}): Buffer {
  const { key = '', extras = Buffer.alloc(0), value = '', opaque = 7, magic = 0x80 } = parts;
  const head = Buffer.alloc(24);
  head[0] = magic;
  head[1] = opcode;
  head.writeUInt16BE(parts.keyBytes ?? key.length, 2);
  head[4] = extras.length;
  head.writeUInt32BE(extras.length + key.length + value.length, 8);
  head.writeUInt32BE(opaque, 12);
  return Buffer.concat([head, extras, Buffer.from(key), Buffer.from(value)]);
}

/** Opcode, status and opaque of each answer. */
function answersIn(text: string): readonly (readonly [opcode: number, status: number, opaque: number])[] {
  const bytes = Buffer.from(text, 'latin1');
  const found: (readonly [number, number, number])[] = [];
  for (let at = 0; at + 24 <= bytes.length; at += 24 + bytes.readUInt32BE(at + 8)) {
    assert.equal(bytes[at], 0x81);
    found.push([bytes[at + 1] ?? 0, bytes.readUInt16BE(at + 6), bytes.readUInt32BE(at + 12)]);
  }
  return found;
}

const DENIED = 'CLIENT_ERROR access denied\r\n';
const GET = 0x00;
const SET = 0x01;
const NOOP = 0x0a;
const GETQ = 0x09;
const STAT = 0x10;
const SETQ = 0x11;

describe('requests of the text protocol of memcached', () => {
  const good: readonly (readonly [string, readonly string[], number, string])[] = [
    ['get a b', ['a', 'b'], 0, 'values'],
    ['get noreply', ['noreply'], 0, 'values'],
    ['gats 10 a b', ['a', 'b'], 0, 'values'],
    ['set a 0 -1 3', ['a'], 5, 'line'],
    ['set a 0 0 0 noreply', ['a'], 2, 'none'],
    ['cas a 0 0 3 77', ['a'], 5, 'line'],
    ['cas a 4294967295 -2147483648 3 18446744073709551615', ['a'], 5, 'line'],
    ['delete noreply', ['noreply'], 0, 'line'],
    ['delete a 0 noreply', ['a'], 0, 'none'],
    ['incr a 1', ['a'], 0, 'line'],
    ['flush_all noreply', [], 0, 'none'],
    ['stats items', [], 0, 'list'],
    ['quit', [], 0, 'none'],
  ];
  for (const [line, keys, dataBytes, answer] of good)
    it(`are read: ${line}`, () => {
      const [command] = line.split(' ');
      assert.deepEqual(readTextRequest(line), { command, keys, dataBytes, answer });
    });

  const bad = [
    ...['', ' ', 'get', 'get  a', ' get a', 'get a ', 'get\ta', 'GET a', 'get a\0b', 'mg a v', 'shutdown'],
    ...[
      'set a 0 0',
      'set a 0 0 x',
      'set a 0 0 -1',
      'set a 0 0 1 2',
      'set a 0 0 1e3',
      'set a 0 0 99999999999',
    ],
    // Of these memcached reads the data as requests that nobody judged.
    ...['set a -1 0 14', 'set a 4294967296 0 14', 'set a 0 2147483648 14', 'set a 0 -2147483649 14'],
    ...['cas a 0 0 14 -1', 'cas a 0 0 14 18446744073709551616'],
    ...['cas a 0 0 3', 'incr a', 'incr a x', 'touch a', 'gat a', 'version 1', `get ${'k'.repeat(251)}`],
  ];
  for (const line of bad)
    it(`are refused: ${JSON.stringify(line.slice(0, 30))}`, () => {
      assert.equal(readTextRequest(line), undefined);
    });
});

describe('the memcache proxy before a real memcached', { skip }, () => {
  let server: ChildProcess | undefined;
  let port = 0;

  before(async () => {
    port = await freePort();
    server = spawn(MEMCACHED, ['-l', '127.0.0.1', '-p', String(port), '-U', '0', '-u', 'nobody', '-m', '16']);
    for (let tries = 0; ; tries++) {
      const socket = connect(port, '127.0.0.1');
      const connected = await new Promise<boolean>((resolve) =>
        socket.once('connect', () => resolve(true)).once('error', () => resolve(false)),
      );
      socket.destroy();
      if (connected) return;
      assert.ok(tries < 100, 'memcached does not listen');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  });

  after(async () => {
    if (server === undefined || server.exitCode !== null) return;
    const exited = new Promise((resolve) => server?.once('exit', resolve));
    server.kill('SIGKILL');
    await exited;
  });

  const start = (...filters: readonly L7Filter[]): Promise<Rig> =>
    new Rig({
      kind: 'memcache',
      dial: () => connect({ host: '127.0.0.1', port, allowHalfOpen: true }),
    }).start(ingressPolicy(filters));

  it('passes and denies by command and key, in the order of the requests', async () => {
    await using rig = await start(
      filter([
        { command: 'writeGroup', keyPrefix: 'own-' },
        { command: 'get', keyRegex: '^(own|pub)-' },
      ]),
    );
    const client = await rig.client();
    await ask(client, 'set own-1 0 0 5\r\nhello\r\n', 'STORED\r\n');
    await ask(
      client,
      'get own-1\r\nset pub-1 0 0 3\r\nabc\r\nget own-1 secret\r\nstats\r\ngets own-x\r\ndelete own-1\r\n',
      `VALUE own-1 0 5\r\nhello\r\nEND\r\n${DENIED}${DENIED}${DENIED}END\r\nDELETED\r\n`,
    );
    assert.deepEqual(
      rig.records.map(({ verdict, l7 }) => [verdict, l7.kind === 'memcache' ? l7.fields : {}]).slice(0, 4),
      [
        ['forwarded', { command: 'set', keys: 'own-1' }],
        ['forwarded', { command: 'get', keys: 'own-1' }],
        ['denied', { command: 'set', keys: 'pub-1' }],
        ['denied', { command: 'get', keys: 'own-1, secret' }],
      ],
    );
  });

  it('takes no data for a request and no value for the end of an answer', async () => {
    await using rig = await start(filter([{ opCode: 'set' }, { opCode: 'get' }]));
    const client = await rig.client();
    const data = 'delete k\r\nEND\r\nget k\r\n';
    await ask(client, `set k 0 0 ${data.length}\r\n${data}\r\n`, 'STORED\r\n');
    await ask(
      client,
      'get k\r\ndelete k\r\nget k\r\n',
      `VALUE k 0 22\r\n${data}\r\nEND\r\n${DENIED}VALUE k 0 22\r\n${data}\r\nEND\r\n`,
    );
  });

  it('streams a value of half a megabyte both ways, and drops one that is denied', async () => {
    await using rig = await start(filter([{ command: 'set', keyExact: 'big' }, { command: 'get' }]));
    const client = await rig.client();
    const value = 'x'.repeat(500_000);
    await ask(client, `set big 0 0 ${value.length}\r\n${value}\r\n`, 'STORED\r\n');
    await ask(client, `set other 0 0 ${value.length}\r\n${value}\r\nget other\r\n`, `${DENIED}END\r\n`);
    await ask(client, 'get big\r\n', `VALUE big 0 500000\r\n${value}\r\nEND\r\n`);
  });

  it('reads everything byte by byte', async () => {
    await using rig = await start(filter([{ command: 'storage' }, { command: 'get' }]));
    const client = await rig.client();
    for (const byte of 'set slow 0 0 2\r\nab\r\nget slow\r\ndelete slow\r\n') client.send(byte);
    await until('answers', () => client.text === `STORED\r\nVALUE slow 0 2\r\nab\r\nEND\r\n${DENIED}`);
  });

  it('says nothing to denied requests that want no answer', async () => {
    await using rig = await start(filter([{ command: 'get' }]));
    const client = await rig.client();
    await ask(client, 'set q 0 0 1 noreply\r\nx\r\nget q\r\n', 'END\r\n');
  });

  it('passes lists: stats to their END', async () => {
    await using rig = await start(filter([{ command: 'stats' }]));
    const client = await rig.client();
    client.send('stats\r\nget a\r\nstats reset\r\n');
    await until('answers', () => client.text.endsWith(`END\r\n${DENIED}RESET\r\n`));
    assert.match(client.text, /^STAT pid \d+\r\n/);
  });

  for (const [what, text] of [
    ['an unknown command', 'mg a v\r\n'],
    ['a line that ends in LF alone', 'get a\ndelete b\r\n'],
    ['data that is longer than it says', 'set a 0 0 1\r\nxy\r\ndelete b\r\n'],
    ['a line without end', `get ${'a '.repeat(40_000)}`],
    [
      'a binary request behind text',
      Buffer.concat([Buffer.from('version\r\n'), packet(GET, { key: 'a\r\n' })]),
    ],
  ] as const)
    it(`refuses ${what} and ends, though a rule allows everything`, async () => {
      await using rig = await start(filter([{}]));
      const client = await rig.client();
      client.send(text);
      await client.end();
      assert.equal(rig.records.at(-1)?.verdict, 'error');
    });

  it('judges the binary protocol', async () => {
    await using rig = await start(
      filter([
        { command: 'set', keyPrefix: 'own-' },
        { command: 'get', keyPrefix: 'own-' },
        { command: 'stats' },
      ]),
    );
    const client = await rig.client();
    const set = (key: string, opaque: number, opcode = SET): Buffer =>
      packet(opcode, { key, opaque, extras: Buffer.alloc(8), value: 'hello' });
    client.send(
      Buffer.concat([
        ...[set('own-1', 1), packet(GET, { key: 'own-1', opaque: 2 }), set('other', 3)],
        ...[
          packet(GET, { key: 'secret', opaque: 4 }),
          packet(STAT, { opaque: 5 }),
          packet(NOOP, { opaque: 6 }),
        ],
      ]),
    );
    await until('the last answer', () => answersIn(client.text).some(([, , opaque]) => opaque === 6));
    const answers = answersIn(client.text);
    assert.deepEqual(
      answers.filter(([opcode]) => opcode !== STAT),
      [
        ...[
          [SET, 0, 1],
          [GET, 0, 2],
          [SET, 8, 3],
          [GET, 8, 4],
          [NOOP, 8, 6],
        ],
      ],
    );
    assert.ok(answers.filter(([opcode]) => opcode === STAT).length > 10);
    assert.equal(answers.at(-2)?.[0], STAT);
    const told = rig.records.map(({ verdict, l7 }) => [verdict, l7.kind === 'memcache' ? l7.fields : {}]);
    assert.deepEqual(told[2], ['denied', { opcode: '1', key: 'other' }]);
  });

  it('keeps the order behind quiet requests that may have no answer', async () => {
    await using rig = await start(
      filter([{ command: 'set' }, { command: 'get', keyExact: 'there' }, { command: 'noop' }]),
    );
    const client = await rig.client();
    client.send(packet(SETQ, { key: 'there', opaque: 1, extras: Buffer.alloc(8), value: 'v' }));
    client.send(packet(GETQ, { key: 'there', opaque: 2 }));
    client.send(packet(GET, { key: 'secret', opaque: 3 }));
    client.send(packet(GETQ, { key: 'secret', opaque: 4 }));
    client.send(packet(GET, { key: 'there', opaque: 5 }));
    await until('answers', () => answersIn(client.text).length >= 4);
    assert.deepEqual(answersIn(client.text), [
      ...[
        [GETQ, 0, 2],
        [GET, 8, 3],
        [GETQ, 8, 4],
        [GET, 0, 5],
      ],
    ]);
  });

  for (const [what, bytes] of [
    ['a key longer than the body', packet(GET, { key: 'a', keyBytes: 200 })],
    ['text behind a binary request', Buffer.concat([packet(NOOP), Buffer.from('get a\r\n'.padEnd(24))])],
    ['an answer for a request', packet(GET, { key: 'a', magic: 0x81 })],
  ] as const)
    it(`refuses ${what} and ends, though a rule allows everything`, async () => {
      await using rig = await start(filter([{}]));
      const client = await rig.client();
      client.send(bytes);
      await client.end();
      assert.equal(rig.records.at(-1)?.verdict, 'error');
    });

  it('lets every request pass where one of the rules has no requests to judge', async () => {
    await using rig = await start(filter([{ command: 'get' }]), filter(undefined, 'default/open'));
    const client = await rig.client();
    await ask(client, 'set o 0 0 1\r\nx\r\n', 'STORED\r\n');
  });

  for (const rule of [
    { command: 'gett' },
    { keyExact: 'a' },
    { command: 'get', keyRegex: '(' },
    { cmd: 'get' },
  ])
    it(`allows nothing by a rule that means nothing: ${JSON.stringify(rule)}`, async () => {
      await using rig = await start(filter([rule]));
      const client = await rig.client();
      await ask(client, 'get a\r\nversion\r\n', `${DENIED}${DENIED}`);
    });
});
