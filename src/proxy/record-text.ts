import type { AccessLogRecord, L7Peer } from '../model/l7.ts';

/**
 * Writes access log records as JSON, faster than `JSON.stringify`: what many records of a
 * connection share, its ends and the rules that allow it, is written once.
 */
export class RecordWriter {
  readonly #peers = new WeakMap<L7Peer, string>();
  readonly #rules = new WeakMap<readonly string[], string>();

  write(record: AccessLogRecord): string {
    // Most flows of DNS have one query: nothing is shared.
    if (record.l7.kind === 'dns') return JSON.stringify(record);
    return (
      `{"kind":"l7","time":"${record.time}","type":"${record.type}","verdict":"${record.verdict}",` +
      `"direction":"${record.direction}","source":${known(this.#peers, record.source)},` +
      `"destination":${known(this.#peers, record.destination)},"rules":${known(this.#rules, record.rules)},` +
      `"reason":${quoted(record.reason)},"latencyNs":${record.latencyNs},"l7":${l7Text(record.l7)}}`
    );
  }
}

function known<T extends object>(texts: WeakMap<T, string>, value: T): string {
  let text = texts.get(value);
  if (text === undefined) {
    text = JSON.stringify(value);
    texts.set(value, text);
  }
  return text;
}

function quoted(text: string): string {
  return text === '' ? '""' : JSON.stringify(text);
}

function l7Text(l7: AccessLogRecord['l7']): string {
  if (l7.kind !== 'http') return JSON.stringify(l7);
  return (
    `{"kind":"http","method":${quoted(l7.method)},"path":${quoted(l7.path)},"host":${quoted(l7.host)},` +
    `"protocol":"${l7.protocol}","status":${l7.status}}`
  );
}
