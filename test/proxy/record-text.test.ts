import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AccessLogRecord } from '../../src/model/l7.ts';
import { RecordWriter } from '../../src/proxy/record-text.ts';

const ends = {
  source: { address: 'fd00::1', port: 40_000, identity: 1000, endpoint: 0 },
  destination: { address: 'fd00::2', port: 80, identity: 2000, endpoint: 7 },
};
const awkward = 'a "quoted" \\ back\u2028slash\u0001\ud800 ü';

const records: readonly AccessLogRecord[] = [
  {
    ...{ kind: 'l7', time: '2026-01-02T03:04:05.678Z', type: 'request', verdict: 'denied' },
    ...{ direction: 'ingress', rules: [], reason: awkward, latencyNs: 0, ...ends },
    l7: { kind: 'http', method: 'GET', path: awkward, host: '', protocol: 'HTTP/1.1', status: 403 },
  },
  {
    ...{ kind: 'l7', time: '2026-01-02T03:04:05.678Z', type: 'response', verdict: 'forwarded' },
    ...{ direction: 'egress', rules: ['ns/one', awkward], reason: '', latencyNs: 123_456, ...ends },
    l7: { kind: 'http', method: 'M-SEARCH', path: '/', host: awkward, protocol: 'HTTP/2', status: 0 },
  },
  {
    ...{ kind: 'l7', time: '2026-01-02T03:04:05.678Z', type: 'request', verdict: 'error' },
    ...{ direction: 'egress', rules: ['ns/one'], reason: '', latencyNs: 0, ...ends },
    l7: { kind: 'kafka', apiKey: 1, apiVersion: 2, correlationId: -3, topics: [awkward], errorCode: 29 },
  },
  {
    ...{ kind: 'l7', time: '2026-01-02T03:04:05.678Z', type: 'response', verdict: 'forwarded' },
    ...{ direction: 'egress', rules: [], reason: '', latencyNs: 5, ...ends },
    l7: {
      ...{ kind: 'dns', query: 'x.io', queryTypes: ['A'], rcode: undefined },
      ...{ addresses: [], cnames: [], ttlSeconds: 0 },
    },
  },
];

/** What an agent reads of it. */
const read = (text: string): unknown => JSON.parse(text);

describe('the text of access log records', () => {
  const writer = new RecordWriter();

  for (const record of records)
    it(`says what that of JSON.stringify says, the first time and later: ${record.l7.kind} ${record.type}`, () => {
      for (let time = 0; time < 2; time++)
        assert.deepEqual(read(writer.write(record)), read(JSON.stringify(record)));
    });

  it('is of the ends and rules that the record has, where another one had others', () => {
    const [first] = records;
    assert.ok(first);
    const other = { ...first, source: { ...first.source, port: 1 }, rules: ['ns/other'] };
    assert.deepEqual(read(writer.write(other)), read(JSON.stringify(other)));
  });
});
