import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as dnsPacket from 'dns-packet';
import fc from 'fast-check';
import { type AnswerReading, answerId, readAnswer } from '../../../src/proxy/dns/answer.ts';
import { Rcode, RecordType } from '../../../src/proxy/dns/constants.ts';
import { type DnsQuery, errorAnswer, headerOf, readQuery } from '../../../src/proxy/dns/query.ts';

const RD = dnsPacket.RECURSION_DESIRED;

function queryBytes(name: string, options: Partial<dnsPacket.Packet> = {}): Buffer {
  return dnsPacket.encode({
    type: 'query',
    id: 0x1234,
    flags: RD,
    questions: [{ type: 'A', name, class: 'IN' }],
    ...options,
  });
}

function queryOf(bytes: Uint8Array): DnsQuery {
  const reading = readQuery(bytes);
  assert.ok(reading.kind === 'query', JSON.stringify(reading));
  return reading.query;
}

/** Header and question of `www.x.io A`, with changes of single 16-bit words. */
function changed(words: Readonly<Record<number, number>>, tail: readonly number[] = []): Buffer {
  const bytes = Buffer.concat([queryBytes('www.x.io'), Buffer.from(tail)]);
  for (const [at, value] of Object.entries(words)) bytes.writeUInt16BE(value, Number(at));
  return bytes;
}

const refusal = (bytes: Uint8Array) => {
  const reading = readQuery(bytes);
  return reading.kind === 'refuse' ? { rcode: reading.rcode, reason: reading.reason } : 'passed';
};

describe('a query', () => {
  it('is read with its name folded and its question kept', () => {
    const bytes = queryBytes('wWw.X.iO');
    const query = queryOf(bytes);
    assert.deepEqual(
      { ...query, question: undefined },
      {
        id: 0x1234,
        flags: RD,
        name: 'www.x.io',
        type: 1,
        class: 1,
        question: undefined,
      },
    );
    assert.deepEqual(Buffer.from(query.question), bytes.subarray(12));
  });

  it('keeps its own copy of the question', () => {
    const bytes = queryBytes('www.x.io');
    const query = queryOf(bytes);
    bytes.fill(0);
    assert.equal(query.question[1], 'w'.charCodeAt(0));
  });

  it('may carry EDNS, and be for the root or any type', () => {
    const opt = { type: 'OPT', name: '.', udpPayloadSize: 4096, flags: 0, options: [] } as const;
    assert.equal(
      queryOf(queryBytes('a.io', { additionals: [opt as unknown as dnsPacket.Answer] })).name,
      'a.io',
    );
    assert.equal(queryOf(queryBytes('.')).name, '');
    assert.equal(
      queryOf(queryBytes('a.io', { questions: [{ type: 'UNKNOWN_65', name: 'a.io' } as never] })).type,
      65,
    );
  });

  it('has bytes escaped that a name of a host does not have', () => {
    const bytes = Buffer.concat([
      changed({}).subarray(0, 12),
      Buffer.from([4, 0x61, 0x2e, 0x62, 0x00, 3, 0x5c, 0x20, 0xff, 2, 0x69, 0x6f, 0, 0, 1, 0, 1]),
    ]);
    assert.equal(queryOf(bytes).name, 'a\\.b\\000.\\\\\\032\\255.io');
  });

  const FORMERR = Rcode.formatError;
  const table: readonly (readonly [string, Uint8Array, number | undefined])[] = [
    ['shorter than a header', Buffer.alloc(11), undefined],
    ['empty', Buffer.alloc(0), undefined],
    ['an answer', changed({ 2: 0x8100 }), undefined],
    ['an answer with opcode', changed({ 2: 0x9000 }), undefined],
    ['of opcode IQUERY', changed({ 2: 0x0800 }), Rcode.notImplemented],
    ['of opcode UPDATE', changed({ 2: 0x2800 }), Rcode.notImplemented],
    ['of opcode NOTIFY', changed({ 2: 0x2400 }), Rcode.notImplemented],
    ['with TC', changed({ 2: 0x0300 }), FORMERR],
    ['with AA', changed({ 2: 0x0500 }), FORMERR],
    ['with an rcode', changed({ 2: 0x0105 }), FORMERR],
    ['without question', changed({ 4: 0 }), FORMERR],
    ['with two questions', changed({ 4: 2 }, [0xc0, 0x0c, 0, 1, 0, 1]), FORMERR],
    ['with 65535 questions', changed({ 4: 0xffff }), FORMERR],
    ['with answers', changed({ 6: 1 }, [0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4]), FORMERR],
    ['with authorities', changed({ 8: 1 }), FORMERR],
    ['with a missing additional record', changed({ 10: 1 }), FORMERR],
    ['with many additional records', changed({ 10: 3 }), FORMERR],
    ['with an OPT of a name', changed({ 10: 1 }, [1, 0x61, 0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0]), FORMERR],
    [
      'with two OPTs',
      changed({ 10: 2 }, [0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0]),
      FORMERR,
    ],
    ['with an OPT that is cut off', changed({ 10: 1 }, [0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 9, 1]), FORMERR],
    ['with bytes after it', changed({}, [0]), FORMERR],
    ['cut off in the name', changed({}).subarray(0, 15), FORMERR],
    ['cut off in the type', changed({}).subarray(0, -1), FORMERR],
    [
      'with a pointer to itself',
      Buffer.concat([changed({}).subarray(0, 12), Buffer.from([0xc0, 12, 0, 1, 0, 1])]),
      FORMERR,
    ],
    [
      'with a pointer forward',
      Buffer.concat([changed({}).subarray(0, 12), Buffer.from([0xc0, 14, 0, 0, 1, 0, 1])]),
      FORMERR,
    ],
    [
      'with a pointer into the header',
      Buffer.concat([changed({}).subarray(0, 12), Buffer.from([0xc0, 4, 0, 1, 0, 1])]),
      FORMERR,
    ],
    [
      'with an extended label',
      Buffer.concat([changed({}).subarray(0, 12), Buffer.from([0x41, 0, 0, 0, 1, 0, 1])]),
      FORMERR,
    ],
    ['for a zone transfer', changed({ 22: RecordType.AXFR }), Rcode.notImplemented],
    ['for an incremental transfer', changed({ 22: RecordType.IXFR }), Rcode.notImplemented],
    ['for OPT', changed({ 22: RecordType.OPT }), FORMERR],
  ];
  for (const [what, bytes, rcode] of table)
    it(`${what} is not passed on`, () => {
      const result = refusal(bytes);
      assert.notEqual(result, 'passed');
      assert.equal(typeof result === 'object' ? result.rcode : 'passed', rcode);
    });

  it('with a name of more than 255 bytes is not passed on, one of 255 is', () => {
    const named = (labels: readonly number[]): Buffer =>
      Buffer.concat([
        changed({}).subarray(0, 12),
        ...labels.map((length) => Buffer.concat([Buffer.from([length]), Buffer.alloc(length, 'a')])),
        Buffer.from([0, 0, 1, 0, 1]),
      ]);
    assert.equal(queryOf(named([63, 63, 63, 61])).name.length, 253);
    assert.deepEqual(refusal(named([63, 63, 63, 62])), { rcode: FORMERR, reason: 'a name is too long' });
  });

  it('of random bytes is answered, dropped or read, and what is read has one meaning', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.boolean(), (bytes, plausible) => {
        if (plausible && bytes.length > 12)
          bytes.set([0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, (bytes[11] ?? 0) & 1], 0);
        const reading = readQuery(bytes);
        if (reading.kind === 'query') {
          const decoded = dnsPacket.decode(Buffer.from(bytes));
          assert.equal(decoded.questions?.length, 1);
          assert.equal(decoded.id, reading.query.id);
        } else if (reading.rcode !== undefined) errorAnswer(headerOf(bytes), reading.rcode);
      }),
      { numRuns: 20_000 },
    );
  });

  it('that was changed at random keeps the name that dns-packet reads', () => {
    const original = queryBytes('www.Example-1.io');
    fc.assert(
      fc.property(fc.nat(original.length - 1), fc.nat(255), (at, value) => {
        const bytes = Buffer.from(original);
        bytes[at] = value;
        const reading = readQuery(bytes);
        if (reading.kind !== 'query' || /[^-_.a-z0-9]/.test(reading.query.name)) return;
        assert.equal(reading.query.name, dnsPacket.decode(bytes).questions?.[0]?.name.toLowerCase());
      }),
      { numRuns: 5000 },
    );
  });
});

describe("an answer of the proxy's own", () => {
  it('has id and question of the query, and the rcode', () => {
    const bytes = queryBytes('wWw.x.io');
    const answer = dnsPacket.decode(
      Buffer.from(errorAnswer(queryOf(bytes), Rcode.refused, queryOf(bytes).question)),
    );
    assert.equal(answer.id, 0x1234);
    assert.equal(answer.type, 'response');
    assert.equal((answer as { rcode?: string }).rcode, 'REFUSED');
    assert.ok(answer.flag_rd && answer.flag_ra && !answer.flag_aa && !answer.flag_tc);
    assert.deepEqual(answer.questions, [{ name: 'wWw.x.io', type: 'A', class: 'IN' }]);
    assert.deepEqual([answer.answers, answer.authorities, answer.additionals], [[], [], []]);
  });

  it('is a header alone when the question could not be read', () => {
    const answer = errorAnswer(headerOf(changed({ 4: 7 })), Rcode.formatError);
    assert.equal(answer.length, 12);
    assert.equal(dnsPacket.decode(Buffer.from(answer)).questions?.length, 0);
  });
});

type Records = readonly dnsPacket.Answer[];

function answerBytes(query: Uint8Array, answers: Records, options: Partial<dnsPacket.Packet> = {}): Buffer {
  const { id, questions } = dnsPacket.decode(Buffer.from(query));
  return dnsPacket.encode({
    type: 'response',
    flags: RD | dnsPacket.RECURSION_AVAILABLE,
    ...(id !== undefined && { id }),
    ...(questions !== undefined && { questions }),
    answers: [...answers],
    ...options,
  });
}

function readTo(name: string, answers: Records, options: Partial<dnsPacket.Packet> = {}): AnswerReading {
  const query = queryBytes(name);
  return readAnswer(answerBytes(query, answers, options), queryOf(query));
}

const a = (name: string, data: string, ttl = 60): dnsPacket.Answer => ({ type: 'A', name, data, ttl });
const aaaa = (name: string, data: string, ttl = 60): dnsPacket.Answer => ({ type: 'AAAA', name, data, ttl });
const cname = (name: string, data: string, ttl = 60): dnsPacket.Answer => ({
  type: 'CNAME',
  name,
  data,
  ttl,
});

function told(reading: AnswerReading) {
  assert.ok(reading.kind === 'answer', JSON.stringify(reading));
  const { names, addresses, ttlSeconds } = reading.answer;
  return { names, addresses, ttlSeconds };
}

describe('an answer', () => {
  it('tells the addresses of the name that was asked for', () => {
    const reading = readTo('www.X.io', [a('www.x.io', '192.0.2.1', 30), aaaa('WWW.x.io', '2001:db8::1', 20)]);
    assert.deepEqual(told(reading), {
      names: ['www.x.io'],
      addresses: ['192.0.2.1', '2001:db8::1'],
      ttlSeconds: 20,
    });
  });

  it('is followed along CNAMEs in any order, with the smallest TTL on the way', () => {
    const chain = [
      a('edge.cdn.net', '192.0.2.1', 300),
      cname('x.cdn.net', 'edge.cdn.net', 5),
      cname('www.x.io', 'x.CDN.net', 60),
    ];
    assert.deepEqual(told(readTo('www.x.io', chain)), {
      names: ['www.x.io', 'x.cdn.net', 'edge.cdn.net'],
      addresses: ['192.0.2.1'],
      ttlSeconds: 5,
    });
  });

  it('does not count records of names that the one asked for does not lead to', () => {
    const records = [
      a('bank.com', '192.0.2.66'),
      cname('bank.com', 'other.com'),
      a('other.com', '192.0.2.67'),
      a('www.x.io', '192.0.2.1'),
    ];
    const additionals = [a('www.x.io', '192.0.2.68')];
    assert.deepEqual(told(readTo('www.x.io', records, { additionals, authorities: additionals })).addresses, [
      '192.0.2.1',
    ]);
  });

  it('does not count records of another class', () => {
    const chaos = { ...a('www.x.io', '192.0.2.1'), class: 'CH' } as dnsPacket.Answer;
    assert.deepEqual(told(readTo('www.x.io', [chaos])).addresses, []);
  });

  it('ends at a loop of CNAMEs', () => {
    const loop = [cname('www.x.io', 'b.io'), cname('b.io', 'www.x.io'), a('b.io', '192.0.2.1')];
    assert.deepEqual(told(readTo('www.x.io', loop)).names, ['www.x.io', 'b.io']);
    const long = Array.from({ length: 200 }, (_, i) =>
      cname(i === 0 ? 'www.x.io' : `c${i}.io`, `c${i + 1}.io`),
    );
    assert.equal(told(readTo('www.x.io', long)).names.length, 32);
  });

  it('without addresses or with an rcode tells none', () => {
    assert.deepEqual(told(readTo('www.x.io', [cname('www.x.io', 'b.io')])).addresses, []);
    const denied = readTo('www.x.io', [a('www.x.io', '192.0.2.1')], { flags: 3 });
    assert.equal(denied.kind === 'answer' && denied.answer.rcode, 3);
    assert.deepEqual(told(denied).addresses, []);
  });

  it('with a TTL whose first bit is set has a TTL of 0', () => {
    assert.equal(told(readTo('www.x.io', [a('www.x.io', '192.0.2.1', 0x80000000)])).ttlSeconds, 0);
    assert.equal(told(readTo('www.x.io', [a('www.x.io', '192.0.2.1', 0x7fffffff)])).ttlSeconds, 0x7fffffff);
  });

  it('of type HTTPS tells the addresses that it hints at', () => {
    const hints = {
      type: 'UNKNOWN_65',
      name: 'www.x.io',
      ttl: 7,
      data: Buffer.from(
        '0001000001000302683200040004c0000201' + '0006001020010db8000000000000000000000001',
        'hex',
      ),
    };
    assert.deepEqual(told(readTo('www.x.io', [hints as unknown as dnsPacket.Answer])), {
      names: ['www.x.io'],
      addresses: ['192.0.2.1', '2001:db8::1'],
      ttlSeconds: 7,
    });
  });

  it('with another id or question is not one to the query', () => {
    const query = queryBytes('wWw.x.io');
    const good = answerBytes(query, [a('www.x.io', '192.0.2.1')]);
    const spoiled = (at: number): AnswerReading => {
      const bytes = Buffer.from(good);
      bytes[at] = (bytes[at] ?? 0) ^ 0x20;
      return readAnswer(bytes, queryOf(query));
    };
    assert.equal(readAnswer(good, queryOf(query)).kind, 'answer');
    assert.deepEqual(spoiled(0), { kind: 'other', reason: 'id' });
    assert.deepEqual(spoiled(1), { kind: 'other', reason: 'id' });
    assert.deepEqual(spoiled(13), { kind: 'other', reason: 'question' }, '0x20: the case of one letter');
    assert.deepEqual(spoiled(23), { kind: 'other', reason: 'question' }, 'the type');
    assert.equal(answerId(good), 0x1234);
    assert.equal(answerId(good.subarray(0, 11)), undefined);
  });

  it('without or with another number of questions is not one to the query', () => {
    const query = queryBytes('www.x.io');
    for (const questions of [[], [1, 2].map(() => ({ type: 'A', name: 'www.x.io' }) as const)]) {
      const bytes = answerBytes(query, [], { questions });
      assert.equal(readAnswer(bytes, queryOf(query)).kind, 'other');
    }
  });

  it('that is itself a query or of another opcode is malformed', () => {
    const query = queryBytes('www.x.io');
    assert.equal(readAnswer(query, queryOf(query)).kind, 'malformed');
    assert.equal(readTo('www.x.io', [], { flags: 0x2800 }).kind, 'malformed');
  });

  it('with pointers that loop, lead on or lie outside is malformed', () => {
    const query = queryBytes('www.x.io');
    for (const pointer of [26, 27, 300, 0, 11, 40]) {
      const record = Buffer.from([
        0xc0 | (pointer >> 8),
        pointer & 0xff,
        0,
        1,
        0,
        1,
        0,
        0,
        0,
        9,
        0,
        4,
        1,
        2,
        3,
        4,
      ]);
      const bytes = Buffer.concat([answerBytes(query, []), record]);
      bytes.writeUInt16BE(1, 6);
      assert.equal(readAnswer(bytes, queryOf(query)).kind, 'malformed', `pointer to ${pointer}`);
    }
  });

  it('with thousands of pointers to pointers is malformed, not slow', () => {
    const query = queryBytes('www.x.io');
    const head = answerBytes(query, []);
    const pointers: number[] = [];
    const start = head.length + 11;
    pointers.push(0xc0, 12);
    for (let i = 1; i < 6000; i++)
      pointers.push(0xc0 | ((start + 2 * (i - 1)) >> 8), (start + 2 * (i - 1)) & 0xff);
    const blob = Buffer.from([
      0,
      0,
      16,
      0,
      1,
      0,
      0,
      0,
      0,
      pointers.length >> 8,
      pointers.length & 0xff,
      ...pointers,
    ]);
    const last = start + pointers.length - 2;
    const record = Buffer.from([0xc0 | (last >> 8), last & 0xff, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4]);
    const bytes = Buffer.concat([head, blob, record]);
    bytes.writeUInt16BE(2, 6);
    assert.equal(readAnswer(bytes, queryOf(query)).kind, 'malformed');
  });

  it('whose addresses have another length is malformed', () => {
    const data = Buffer.from([1, 2, 3]);
    for (const type of ['UNKNOWN_1', 'UNKNOWN_28'])
      assert.equal(readTo('www.x.io', [{ type, name: 'www.x.io', data } as never]).kind, 'malformed');
  });

  it('that is truncated says so and counts what can be read', () => {
    const query = queryBytes('www.x.io');
    const whole = answerBytes(query, [a('www.x.io', '192.0.2.1')], { flags: dnsPacket.TRUNCATED_RESPONSE });
    for (const bytes of [whole, whole.subarray(0, -3)]) {
      const reading = readAnswer(bytes, queryOf(query));
      assert.equal(reading.kind === 'answer' && reading.answer.truncated, true);
    }
    assert.equal(
      readAnswer(answerBytes(query, [a('www.x.io', '1.2.3.4')]).subarray(0, -1), queryOf(query)).kind,
      'malformed',
    );
  });

  it('of random records tells what a walk over the records of dns-packet tells', () => {
    const name = fc.constantFrom('www.x.io', 'a.io', 'b.io', 'c.cdn.net', 'd.cdn.net');
    const record = fc.oneof(
      fc
        .record({ name, ip: fc.ipV4(), ttl: fc.nat(1000) })
        .map(({ name: owner, ip, ttl }) => a(owner, ip, ttl)),
      fc
        .record({ name, target: name, ttl: fc.nat(1000) })
        .map(({ name: owner, target, ttl }) => cname(owner, target, ttl)),
    );
    fc.assert(
      fc.property(fc.array(record, { maxLength: 8 }), (records) => {
        const bytes = answerBytes(queryBytes('www.x.io'), records);
        const decoded = dnsPacket.decode(bytes).answers ?? [];
        const reached = new Set(['www.x.io']);
        for (const owner of reached)
          for (const other of decoded)
            if (other.type === 'CNAME' && other.name === owner) reached.add(other.data);
        const expected = decoded.flatMap((one) =>
          one.type === 'A' && reached.has(one.name) ? [one.data] : [],
        );
        const { addresses, names } = told(readTo('www.x.io', records));
        assert.deepEqual([...addresses].sort(), [...new Set(expected)].sort());
        assert.deepEqual([...names].sort(), [...reached].sort());
      }),
      { numRuns: 3000 },
    );
  });

  it('of random or changed bytes never throws', () => {
    const query = queryBytes('www.x.io');
    const good = answerBytes(query, [cname('www.x.io', 'b.cdn.net'), a('b.cdn.net', '192.0.2.1')]);
    const edits = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 6 });
    fc.assert(
      fc.property(edits, fc.nat(good.length), fc.uint8Array({ maxLength: 60 }), (changes, cut, tail) => {
        const bytes = Buffer.from(good);
        for (const [at, value] of changes) bytes[at] = value;
        readAnswer(bytes, queryOf(query));
        readAnswer(Buffer.concat([good.subarray(0, cut), tail]), queryOf(query));
      }),
      { numRuns: 20_000 },
    );
  });
});
