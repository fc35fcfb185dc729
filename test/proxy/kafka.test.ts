import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { KafkaRule, L7Filter } from '../../src/model/l7.ts';
import { denialOf } from '../../src/proxy/kafka/denial.ts';
import { judgeKafka } from '../../src/proxy/kafka/judge.ts';
import { readRequest } from '../../src/proxy/kafka/request.ts';
import { httpFilter, ingressPolicy, type RawClient, Rig, until } from './rig.ts';

const int = (bytes: 1 | 2 | 4 | 8, value: number): Buffer => {
  const out = Buffer.alloc(bytes);
  if (bytes === 8) out.writeBigInt64BE(BigInt(value));
  else out.writeIntBE(value, 0, bytes);
  return out;
};
const i16 = (value: number): Buffer => int(2, value);
const i32 = (value: number): Buffer => int(4, value);
const text = (value: string): Buffer => Buffer.concat([i16(value.length), Buffer.from(value)]);
const list = (...items: readonly Buffer[]): Buffer => Buffer.concat([i32(items.length), ...items]);
/** Compact forms, for texts and lists shorter than 127. */
const ctext = (value: string): Buffer => Buffer.concat([int(1, value.length + 1), Buffer.from(value)]);
const clist = (...items: readonly Buffer[]): Buffer => Buffer.concat([int(1, items.length + 1), ...items]);
const TAGS = int(1, 0);

function message(apiKey: number, version: number, parts: readonly Buffer[], flexible = false): Buffer {
  const head = [i16(apiKey), i16(version), i32(77), text('client')];
  return Buffer.concat([...head, ...(flexible ? [TAGS] : []), ...parts]);
}
const framed = (bytes: Buffer): Buffer => Buffer.concat([i32(bytes.length), bytes]);

/** Produce, version 2, of one record set to partition 3 of each topic. */
const produce = (topics: readonly string[], acks = 1): Buffer =>
  message(0, 2, [
    i16(acks),
    i32(1000),
    list(
      ...topics.map((name) =>
        Buffer.concat([text(name), list(Buffer.concat([i32(3), i32(5), Buffer.from('batch')]))]),
      ),
    ),
  ]);

const REQUESTS: readonly (readonly [what: string, bytes: Buffer, topics: readonly string[] | undefined])[] = [
  ['produce 2', produce(['a', 'b']), ['a', 'b']],
  [
    'produce 9',
    message(
      0,
      9,
      [
        int(1, 0),
        i16(-1),
        i32(9),
        clist(
          Buffer.concat([
            ctext('t'),
            clist(Buffer.concat([i32(1), int(1, 4), Buffer.from('abc'), TAGS])),
            TAGS,
          ]),
        ),
        TAGS,
      ],
      true,
    ),
    ['t'],
  ],
  [
    'fetch 0',
    message(1, 0, [
      i32(-1),
      i32(1),
      i32(1),
      list(Buffer.concat([text('t'), list(Buffer.concat([i32(0), int(8, 5), i32(9)]))])),
    ]),
    ['t'],
  ],
  [
    'fetch 11',
    message(1, 11, [
      ...[i32(-1), i32(1), i32(1), i32(1), int(1, 0), i32(0), i32(0)],
      list(Buffer.concat([text('t'), list(Buffer.concat([i32(0), i32(1), int(8, 5), int(8, 0), i32(9)]))])),
      ...[list(), text('')],
    ]),
    ['t'],
  ],
  [
    'fetch 12',
    message(
      1,
      12,
      [
        ...[i32(-1), i32(1), i32(1), i32(1), int(1, 0), i32(0), i32(0)],
        clist(
          Buffer.concat([
            ctext('t'),
            clist(Buffer.concat([i32(0), i32(1), int(8, 5), i32(-1), int(8, 0), i32(9), TAGS])),
            TAGS,
          ]),
        ),
        ...[clist(), ctext(''), TAGS],
      ],
      true,
    ),
    ['t'],
  ],
  ['fetch 13, which names topics by number', message(1, 13, [i32(0)], true), undefined],
  [
    'list offsets 1',
    message(2, 1, [i32(-1), list(Buffer.concat([text('t'), list(Buffer.concat([i32(0), int(8, -1)]))]))]),
    ['t'],
  ],
  ['metadata 0 of every topic', message(3, 0, [list()]), undefined],
  ['metadata 1 of no topic', message(3, 1, [list()]), []],
  ['metadata 1 of every topic', message(3, 1, [i32(-1)]), undefined],
  ['metadata 4', message(3, 4, [list(text('t'), text('u')), int(1, 1)]), ['t', 'u']],
  [
    'metadata 9',
    message(3, 9, [clist(Buffer.concat([ctext('t'), TAGS])), int(1, 1), int(1, 0), int(1, 0), TAGS], true),
    ['t'],
  ],
  [
    'metadata 12',
    message(
      3,
      12,
      [clist(Buffer.concat([Buffer.alloc(16), ctext('t'), TAGS])), int(1, 1), int(1, 0), TAGS],
      true,
    ),
    ['t'],
  ],
  [
    'offset commit 2',
    message(8, 2, [
      text('g'),
      i32(1),
      text('m'),
      int(8, -1),
      list(Buffer.concat([text('t'), list(Buffer.concat([i32(0), int(8, 4), i16(-1)]))])),
    ]),
    ['t'],
  ],
  [
    'offset fetch 1',
    message(9, 1, [text('g'), list(Buffer.concat([text('t'), list(i32(0), i32(1))]))]),
    ['t'],
  ],
  ['offset fetch 2 of every topic', message(9, 2, [text('g'), i32(-1)]), undefined],
  [
    'offset fetch 8',
    message(
      9,
      8,
      [
        clist(Buffer.concat([ctext('g'), clist(Buffer.concat([ctext('t'), clist(i32(0)), TAGS])), TAGS])),
        int(1, 0),
        TAGS,
      ],
      true,
    ),
    ['t'],
  ],
  [
    'create topics 1',
    message(19, 1, [
      list(
        Buffer.concat([
          text('t'),
          i32(1),
          i16(1),
          list(Buffer.concat([i32(0), list(i32(1))])),
          list(Buffer.concat([text('k'), text('v')])),
        ]),
      ),
      i32(9),
      int(1, 0),
    ]),
    ['t'],
  ],
  ['delete topics 1', message(20, 1, [list(text('t')), i32(9)]), ['t']],
  ['heartbeat 0', message(12, 0, [text('g'), i32(1), text('m')]), []],
  ['api versions 3', message(18, 3, [ctext('c'), ctext('v'), TAGS], true), []],
];

const rule = (parts: Partial<KafkaRule>): KafkaRule => ({
  ...{ role: undefined, apiKey: undefined, apiVersion: undefined, clientId: undefined, topic: undefined },
  ...parts,
});
const filter = (rules: readonly KafkaRule[], ruleName = 'default/kafka'): L7Filter => ({
  ...httpFilter(undefined, { ruleName }),
  l7: { kind: 'kafka', rules },
});

function allows(rules: readonly KafkaRule[], bytes: Buffer): boolean {
  return judgeKafka([{ direction: 'ingress', filters: [filter(rules)] }], readRequest(bytes), 'ingress')
    .allowed;
}

describe('a request of Kafka', () => {
  for (const [what, bytes, topics] of REQUESTS) {
    it(`${what} is read: ${topics?.join(', ') ?? 'topics unknown or all'}`, () => {
      const request = readRequest(bytes);
      assert.deepEqual([request.correlationId, request.clientId], [77, 'client']);
      assert.deepEqual(
        request.topics?.map(({ name }) => name),
        topics,
      );
    });

    it(`${what} cut short is no request`, () => {
      if (topics === undefined || topics.length === 0) return;
      for (let length = 0; length < bytes.length - 30; length++) {
        assert.throws(() => readRequest(bytes.subarray(0, length)), `${length} of ${bytes.length} bytes`);
      }
    });
  }

  it('may be long in name only', () => {
    assert.throws(() => readRequest(message(3, 1, [i32(0x7fffffff)])));
    assert.throws(() => readRequest(message(3, 1, [list(Buffer.concat([i16(-5), Buffer.from('x')]))])));
  });
});

describe('Kafka rules', () => {
  it('stand for the keys of a role', () => {
    assert.equal(allows([rule({ role: 'produce' })], produce(['a'])), true);
    assert.equal(allows([rule({ role: 'consume' })], produce(['a'])), false);
    assert.equal(allows([rule({ role: 'consume' })], message(12, 0, [])), true);
    assert.equal(allows([rule({ role: 'produce' })], message(12, 0, [])), false);
  });

  it('want each topic of a request allowed, by any of them', () => {
    const rules = [rule({ role: 'produce', topic: 'a' }), rule({ apiKey: 'produce', topic: 'b' })];
    assert.equal(allows(rules, produce(['a', 'b'])), true);
    assert.equal(allows(rules, produce(['a', 'c'])), false);
    assert.equal(allows(rules, message(3, 1, [i32(-1)])), false);
    assert.equal(allows(rules, message(3, 1, [list()])), true);
    assert.equal(allows([rule({ topic: 'a' })], message(1, 13, [i32(0)], true)), false);
  });

  it('with a topic allow no request that names topics which are not read', () => {
    const [topic, open] = [[rule({ topic: 'a' })], [rule({})]];
    const later = [43, 45, 46, 47, 56, 61, 68, 73, 75, 76, 78, 79, 83, 84, 85, 86, 87, 88, 90, 91, 92];
    for (const apiKey of [4, 5, 6, 27, 34, 35, 37, ...later]) {
      const bytes = message(apiKey, 0, [i32(0)]);
      assert.deepEqual([allows(topic, bytes), allows(open, bytes)], [false, true], `key ${apiKey}`);
    }
    for (const apiKey of [10, 11, 12, 22, 32, 36, 42])
      assert.equal(allows(topic, message(apiKey, 0, [i32(0)])), true, `key ${apiKey} names none`);
  });

  it('match version and client', () => {
    assert.equal(allows([rule({ apiVersion: 2 })], produce(['a'])), true);
    assert.equal(allows([rule({ apiVersion: 3 })], produce(['a'])), false);
    assert.equal(allows([rule({ clientId: 'client' })], produce(['a'])), true);
    assert.equal(allows([rule({ clientId: 'other' })], produce(['a'])), false);
  });

  it('allow everything when empty, and nothing when there are none', () => {
    assert.equal(allows([rule({})], message(36, 2, [])), true);
    assert.equal(allows([], produce(['a'])), false);
  });
});

describe('the refusal of a request of Kafka', () => {
  it('says error 29 for each partition of produce', () => {
    const answer = denialOf(readRequest(produce(['t'])));
    const partition = Buffer.concat([i32(3), i16(29), int(8, -1), int(8, -1)]);
    assert.deepEqual(
      answer,
      framed(Buffer.concat([i32(77), list(Buffer.concat([text('t'), list(partition)])), i32(0)])),
    );
  });

  it('says error 29 for each topic of metadata, in the flexible form too', () => {
    const topics = REQUESTS.find(([what]) => what === 'metadata 9')?.[1] ?? Buffer.alloc(0);
    const topic = Buffer.concat([i16(29), ctext('t'), int(1, 0), clist(), i32(-2_147_483_648), TAGS]);
    const rest = [clist(), int(1, 0), i32(-1), clist(topic), i32(-2_147_483_648), TAGS];
    assert.deepEqual(denialOf(readRequest(topics)), framed(Buffer.concat([i32(77), TAGS, i32(0), ...rest])));
  });

  it('is the end of the connection where there is no such answer', () => {
    assert.equal(denialOf(readRequest(message(12, 0, []))), undefined);
  });
});

describe('the Kafka proxy', () => {
  const policy = ingressPolicy([filter([rule({ role: 'produce', topic: 'good' })])]);
  const OK = framed(Buffer.concat([i32(77), Buffer.from('answer')])).toString('latin1');
  const set = async (): Promise<{ rig: Rig; client: RawClient }> => {
    const rig = await new Rig({ kind: 'kafka' }).start(policy);
    return { rig, client: await rig.client() };
  };

  it('passes allowed requests on, and answers denied ones in their place', async () => {
    const { rig, client } = await set();
    const good = framed(produce(['good']));
    const silent = framed(produce(['good'], 0));
    const denial = denialOf(readRequest(produce(['bad'])))?.toString('latin1') ?? '';
    rig.server.answer = (socket, got) => {
      if (got.length === 2 * good.length + silent.length) socket.write(Buffer.from(OK + OK, 'latin1'));
    };
    for (const byte of Buffer.concat([good, framed(produce(['bad'])), silent, good]))
      client.send(Buffer.from([byte]));
    await until('answers', () => client.text.length >= 2 * OK.length + denial.length);
    assert.equal(client.text, OK + denial + OK);
    assert.equal(rig.server.text, Buffer.concat([good, silent, good]).toString('latin1'));
    assert.deepEqual(
      rig.records.map(({ verdict, l7 }) => [verdict, l7.kind === 'kafka' ? l7.topics.join() : '']),
      [
        ['forwarded', 'good'],
        ['denied', 'bad'],
        ['forwarded', 'good'],
        ['forwarded', 'good'],
      ],
    );
    client.destroy();
    await rig.stop();
  });

  for (const [what, bytes] of [
    ['of HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['of negative length', i32(-1)],
    ['of a gigabyte', i32(1 << 30)],
    ['cut short', framed(produce(['good']).subarray(0, 30))],
    ['that no answer can refuse', framed(message(12, 0, [text('g'), i32(1), text('m')]))],
  ] as const) {
    it(`ends a connection with a request ${what}, and nothing of it reaches the broker`, async () => {
      const { rig, client } = await set();
      client.send(bytes);
      await client.end();
      assert.equal(rig.server.text, '');
      client.destroy();
      await rig.stop();
    });
  }

  it('judges nothing that comes behind a request that ends the connection', async () => {
    const { rig, client } = await set();
    const silentDenial = framed(produce(['bad'], 0));
    client.send(Buffer.concat([silentDenial, framed(produce(['good']))]));
    await client.end();
    const other = await rig.client();
    other.send(Buffer.concat([framed(produce(['good']).subarray(0, 30)), framed(produce(['good']))]));
    await other.end();
    assert.equal(rig.server.text, '');
    assert.deepEqual(
      rig.records.map(({ verdict }) => verdict),
      ['denied', 'error'],
    );
    client.destroy();
    other.destroy();
    await rig.stop();
  });

  it('ends a connection whose broker answers without a request', async () => {
    const { rig, client } = await set();
    rig.server.answer = (socket) => socket.write(Buffer.from(OK + OK, 'latin1'));
    client.send(framed(produce(['good'])));
    await client.end();
    assert.equal(client.text, OK);
    client.destroy();
    await rig.stop();
  });
});
