import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { L7Filter, PairRule } from '../../src/model/l7.ts';
import { readCql } from '../../src/proxy/pairs/cassandra-query.ts';
import { httpFilter, ingressPolicy, type RawClient, Rig, until } from './rig.ts';

const filter = (rules: readonly PairRule[] | undefined, ruleName = 'default/db'): L7Filter =>
  httpFilter(undefined, { l7: rules && { kind: 'cassandra', rules }, ruleName });

const short = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
const int = (value: number): Buffer => {
  const out = Buffer.alloc(4);
  out.writeInt32BE(value);
  return out;
};
const string = (text: string): Buffer => Buffer.concat([short(text.length), Buffer.from(text)]);
const longString = (text: string): Buffer => Buffer.concat([int(text.length), Buffer.from(text)]);

function frame(version: number, stream: number, opcode: number, body: Buffer, flags = 0): Buffer {
  return Buffer.concat([
    Buffer.from([version, flags]),
    short(stream),
    Buffer.from([opcode]),
    int(body.length),
    body,
  ]);
}
const query = (stream: number, cql: string): Buffer =>
  frame(4, stream, 7, Buffer.concat([longString(cql), short(1), Buffer.from([0])]));
const prepare = (stream: number, cql: string): Buffer => frame(4, stream, 9, longString(cql));
const execute = (stream: number, id: string): Buffer =>
  frame(4, stream, 10, Buffer.concat([string(id), short(1), Buffer.from([0])]));
const startup = (...pairs: string[]): Buffer =>
  frame(4, 0, 1, Buffer.concat([short(pairs.length / 2), ...pairs.map(string)]));

interface Frame {
  readonly stream: number;
  readonly opcode: number;
  readonly body: Buffer;
}

function framesIn(bytes: Buffer): Frame[] {
  const found: Frame[] = [];
  for (let at = 0; at + 9 <= bytes.length; ) {
    const end = at + 9 + bytes.readUInt32BE(at + 5);
    if (end > bytes.length) break;
    found.push({
      stream: bytes.readUInt16BE(at + 2),
      opcode: bytes[at + 4] ?? 0,
      body: bytes.subarray(at + 9, end),
    });
    at = end;
  }
  return found;
}

/** What a small database answers: ids of statements are `id of` their text. */
function answerTo({ stream, opcode, body }: Frame): Buffer {
  const cql = body.toString('latin1', 4);
  if (opcode === 1) return frame(0x84, stream, 2, Buffer.alloc(0));
  if (opcode === 9) return frame(0x84, stream, 8, Buffer.concat([int(4), string(`id of ${cql}`)]));
  if (opcode === 7 && /^use /i.test(cql)) {
    const name = /^use (\w+)/i.exec(cql)?.[1] ?? '';
    if (name === 'missing')
      return frame(0x84, stream, 0, Buffer.concat([int(0x2200), string('no keyspace')]));
    return frame(0x84, stream, 8, Buffer.concat([int(3), string(name)]));
  }
  return frame(0x84, stream, 8, int(1));
}

async function database(...filters: readonly L7Filter[]): Promise<Rig> {
  const rig = new Rig({ kind: 'cassandra' });
  const seen = new Map<object, number>();
  rig.server.answer = (socket, text) => {
    const frames = framesIn(Buffer.from(text, 'latin1'));
    for (const one of frames.slice(seen.get(socket) ?? 0)) socket.write(answerTo(one));
    seen.set(socket, frames.length);
  };
  return rig.start(ingressPolicy(filters));
}

/** `stream opcode`, with the code of an ERROR and the kind of a RESULT. */
async function answers(client: RawClient, count: number): Promise<string[]> {
  const got = (): Frame[] => framesIn(Buffer.from(client.text, 'latin1'));
  await until(`${count} answers`, () => got().length >= count);
  return got().map(({ stream, opcode, body }) => {
    const number = body.length >= 4 ? body.readInt32BE(0) : undefined;
    const shown = opcode === 0 ? ` 0x${number?.toString(16)}` : ` ${number ?? ''}`;
    return `${stream} ${opcode === 0 ? 'ERROR' : opcode === 8 ? 'RESULT' : opcode}${shown}`.trim();
  });
}

const STATEMENTS: readonly (readonly [cql: string, action: string, table: string])[] = [
  ['SELECT * FROM shop.items WHERE a = 1;', 'select', 'shop.items'],
  ['select count(*), "from" from "Shop"."Items"', 'select', 'Shop.Items'],
  [`select 'from secret.x' from shop.items`, 'select', 'shop.items'],
  ['INSERT INTO items(a) VALUES ($$ from x; $$)', 'insert', '.items'],
  ['update shop.items set a = 1', 'update', 'shop.items'],
  ['delete a from shop.items', 'delete', 'shop.items'],
  ['TRUNCATE shop.items', 'truncate-table', 'shop.items'],
  ['create table if not exists shop.t (a int primary key)', 'create-table', 'shop.t'],
  ['drop keyspace if exists shop', 'drop-keyspace', '.shop'],
  ['create or replace function f() ...', 'create-function', '.'],
  ['create materialized view v as select * from shop.items', 'create-materialized-view', '.'],
  ['grant select on shop.items to bob', 'grant-permission', '.'],
  ['grant admin to bob', 'grant-role', '.'],
  ['list roles', 'list-roles', '.'],
];

describe('statements of CQL', () => {
  for (const [cql, action, table] of STATEMENTS)
    it(`are read: ${cql}`, () => {
      const found = readCql(cql);
      assert.deepEqual([found?.action, `${found?.keyspace ?? ''}.${found?.name}`], [action, table]);
    });

  for (const cql of [
    ...[
      '',
      'select 1',
      'explain select * from a',
      'select * from a; drop table a',
      'select * from /* x */ a',
    ],
    ...[
      'select * from a -- x',
      `select * from a where b = 'x`,
      'begin batch insert into a(b) values (1) apply batch',
    ],
    ...['select * from "a', 'alter index x'],
  ])
    it(`are not judged: ${cql}`, () => assert.equal(readCql(cql), undefined));
});

describe('the cassandra proxy', () => {
  const RULES = [{ query_action: 'select', query_table: '^shop[.]' }, { query_action: 'list-roles' }];

  it('passes and denies by action and table, and tells of it', async () => {
    await using rig = await database(filter(RULES));
    const client = await rig.client();
    client.send(Buffer.concat([startup('CQL_VERSION', '3.0.0'), query(1, 'select * from shop.items')]));
    client.send(
      Buffer.concat([
        query(2, 'drop table shop.items'),
        query(3, 'select * from secret.x'),
        query(4, 'list roles'),
      ]),
    );
    const got = await answers(client, 5);
    assert.deepEqual(got.sort(), ['0 2', '1 RESULT 1', '2 ERROR 0x2100', '3 ERROR 0x2100', '4 RESULT 1']);
    assert.ok(!/drop|secret/.test(rig.server.text));
    assert.deepEqual(
      rig.records.map(({ verdict, l7 }) => [
        verdict,
        l7.kind === 'cassandra' ? Object.values(l7.fields).join(' ') : '',
      ]),
      [
        ['forwarded', 'select shop.items'],
        ['denied', 'drop-table shop.items'],
        ['denied', 'select secret.x'],
        ['forwarded', 'list-roles '],
      ],
    );
  });

  it('takes the keyspace from the server, not from what the client asked for', async () => {
    await using rig = await database(filter(RULES));
    const client = await rig.client();
    client.send(
      Buffer.concat([
        query(1, 'use shop'),
        query(2, 'select * from t'),
        query(3, 'use missing'),
        query(4, 'select * from t'),
      ]),
    );
    client.send(Buffer.concat([query(5, 'use other'), query(6, 'select * from t')]));
    assert.deepEqual((await answers(client, 6)).sort(), [
      ...['1 RESULT 3', '2 RESULT 1', '3 ERROR 0x2200', '4 RESULT 1', '5 RESULT 3', '6 ERROR 0x2100'],
    ]);
  });

  it('holds a USE until all before it is answered, lest the server run that in another keyspace', async () => {
    await using rig = await database(filter(RULES));
    const client = await rig.client();
    client.send(query(1, 'use shop'));
    await answers(client, 1);
    const { answer } = rig.server;
    rig.server.answer = () => undefined;
    client.send(Buffer.concat([query(2, 'select * from t'), query(3, 'use other'), query(4, 'use shop')]));
    await until('the query is there', () => rig.server.text.includes('select * from t'));
    await until('it is judged', () => rig.records.some(({ l7 }) => l7.kind === 'cassandra'));
    assert.doesNotMatch(rig.server.text, /use other/);
    rig.server.answer = answer;
    const [connection] = rig.server.connections;
    assert.ok(connection !== undefined);
    answer(connection.socket, connection.text, 0);
    assert.deepEqual(await answers(client, 4), ['1 RESULT 3', '2 RESULT 1', '3 RESULT 3', '4 RESULT 3']);
  });

  it('reads requests however they are cut', async () => {
    await using rig = await database(filter(RULES));
    const client = await rig.client();
    const bytes = Buffer.concat([query(1, 'select * from shop.t'), query(2, 'drop table shop.t')]);
    for (const byte of bytes) {
      client.send(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.deepEqual((await answers(client, 2)).sort(), ['1 RESULT 1', '2 ERROR 0x2100']);
  });

  it('judges prepared statements when they are executed, also in a batch', async () => {
    await using rig = await database(filter(RULES));
    const client = await rig.client();
    client.send(prepare(1, 'select * from shop.a'));
    await answers(client, 1);
    const id = 'id of select * from shop.a';
    client.send(
      Buffer.concat([execute(2, id), execute(3, 'id of another'), prepare(4, 'drop table shop.a')]),
    );
    const entry = Buffer.concat([Buffer.from([1]), string(id), short(1), int(-1)]);
    const plain = Buffer.concat([Buffer.from([0]), longString('drop table shop.a'), short(0)]);
    const batch = (stream: number, ...entries: readonly Buffer[]): Buffer =>
      frame(
        4,
        stream,
        13,
        Buffer.concat([Buffer.from([0]), short(entries.length), ...entries, short(1), Buffer.from([0])]),
      );
    client.send(Buffer.concat([batch(5, entry, entry), batch(6, entry, plain)]));
    assert.deepEqual((await answers(client, 6)).sort(), [
      ...['1 RESULT 4', '2 RESULT 1', '3 ERROR 0x2500', '4 ERROR 0x2100', '5 RESULT 1', '6 ERROR 0x2100'],
    ]);
    await rig.apply(ingressPolicy([filter([{ query_action: 'update' }])], 2));
    client.send(execute(7, id));
    assert.equal((await answers(client, 7)).at(-1), '7 ERROR 0x2100');
  });

  for (const [what, bytes] of [
    ['version 5, so that clients fall back', frame(5, 0, 1, short(0))],
    ['an answer for a request', frame(0x84, 0, 7, Buffer.alloc(0))],
    ['compressed frames', frame(4, 1, 7, Buffer.alloc(4), 1)],
    ['a session that asks for compression', startup('COMPRESSION', 'lz4')],
    ['a text longer than its frame', frame(4, 1, 7, int(50))],
    ['an unknown request', frame(4, 1, 0x2a, Buffer.alloc(0))],
    ['a request of 4 GiB', Buffer.from([4, 0, 0, 0, 7, 255, 255, 255, 255])],
  ] as const)
    it(`refuses ${what} and ends, though a rule allows everything`, async () => {
      await using rig = await database(filter([{}]));
      const client = await rig.client();
      client.send(bytes);
      await client.end();
      assert.deepEqual(
        (await answers(client, 1)).map((text) => text.slice(2)),
        ['ERROR 0xa'],
      );
      assert.equal(rig.server.text, '');
      assert.equal(rig.records.at(-1)?.verdict, 'error');
    });

  it('denies what cannot be judged, though a rule allows everything', async () => {
    await using rig = await database(filter([{}]));
    const client = await rig.client();
    client.send(
      Buffer.concat([query(1, 'select * from a -- x'), prepare(2, 'use shop'), query(3, 'select * from a')]),
    );
    assert.deepEqual((await answers(client, 3)).sort(), ['1 ERROR 0x2100', '2 ERROR 0x2100', '3 RESULT 1']);
  });

  it('reads requests and answers byte by byte', async () => {
    await using rig = await database(filter(RULES));
    const client = await rig.client();
    for (const byte of Buffer.concat([query(1, 'select * from shop.a'), query(2, 'select * from b')]))
      client.send(Buffer.from([byte]));
    assert.deepEqual((await answers(client, 2)).sort(), ['1 RESULT 1', '2 ERROR 0x2100']);
  });
});
