import type { AccessLogRecord, L7Peer } from '../model/l7.ts';
import { printableField } from './printable.ts';

function peerText({ address, port }: L7Peer): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function requestText({ l7 }: AccessLogRecord): string {
  switch (l7.kind) {
    case 'http':
      return `${l7.method} http://${l7.host}${l7.path} => ${l7.status}`;
    case 'kafka':
      return `api key ${l7.apiKey} version ${l7.apiVersion} topics ${l7.topics.join(', ')} => ${l7.errorCode}`;
    case 'dns': {
      const answer = l7.rcode === undefined ? '' : ` => rcode ${l7.rcode} ${l7.addresses.join(', ')}`;
      return `query ${l7.query} ${l7.queryTypes.join(', ')}${answer}`;
    }
  }
}

/** One record of the access log on one line. */
export function accessLogText(record: AccessLogRecord): string {
  const { source, destination, l7 } = record;
  const ends = `from ${source.endpoint} (${peerText(source)}) to ${destination.endpoint} (${peerText(destination)})`;
  const what = record.type === 'request' ? '-> Request' : '<- Response';
  const identities = `identity ${source.identity}->${destination.identity}`;
  const reason = record.reason === '' ? '' : ` (${record.reason})`;
  const text = `${what} ${l7.kind} ${ends}, ${identities}, verdict ${record.verdict}${reason} ${requestText(record)}`;
  return printableField(text);
}
