import type { AccessLogRecord, L7Peer } from '../model/l7.ts';
import { printableField } from './printable.ts';
import type { Compat } from './types.ts';

export interface AccessLogOptions {
  readonly compat?: Compat;
  /** Labels of an identity; undefined where they are not known, and then the address is shown. */
  readonly labelsOf?: ((identity: number) => readonly string[] | undefined) | undefined;
}

function addressText({ address, port }: L7Peer): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** `12 ([k8s:app=web])`. */
function peerText(peer: L7Peer, { labelsOf }: AccessLogOptions): string {
  const labels = labelsOf?.(peer.identity);
  const who = labels === undefined ? addressText(peer) : `[${[...labels].sort().join(' ')}]`;
  return `${peer.endpoint} (${who})`;
}

function statusText(status: number, options: AccessLogOptions): string {
  return status === 0 && options.compat === undefined ? '' : ` => ${status}`;
}

function requestText({ l7 }: AccessLogRecord, options: AccessLogOptions): string {
  switch (l7.kind) {
    case 'http':
      return `${l7.method} http://${l7.host}${l7.path}${statusText(l7.status, options)}`;
    case 'kafka': {
      const topics = l7.topics.length === 0 ? '' : ` topics ${l7.topics.join(', ')}`;
      const code = statusText(l7.errorCode, options);
      return `api key ${l7.apiKey} version ${l7.apiVersion} correlation ${l7.correlationId}${topics}${code}`;
    }
    case 'tls':
      return l7.serverName === '' ? 'no server name' : `server ${l7.serverName}`;
    case 'memcache':
    case 'cassandra':
    case 'r2d2':
      return Object.entries(l7.fields)
        .map(([key, value]) => `${key}:${value}`)
        .join(' ');
    case 'dns': {
      const found = [...l7.cnames, ...l7.addresses].join(', ');
      const answer = l7.rcode === undefined ? '' : ` => rcode ${l7.rcode}${found === '' ? '' : ` ${found}`}`;
      const ttl = l7.rcode === undefined || found === '' ? '' : ` ttl ${l7.ttlSeconds}`;
      return `${l7.query} ${l7.queryTypes.join(', ')}${answer}${ttl}`;
    }
  }
}

const VERDICTS = { forwarded: 'Forwarded', denied: 'Denied', error: 'Error' } as const;

/** What decided, and how long the answer took: ours, at the end of the line. */
function more({ rules, reason, latencyNs }: AccessLogRecord): string {
  const parts = [
    rules.length > 0 ? `by ${rules.join(', ')}` : '',
    reason,
    latencyNs > 0 ? `after ${(latencyNs / 1e6).toFixed(3)} ms` : '',
  ].filter((part) => part !== '');
  return parts.length === 0 ? '' : ` (${parts.join('; ')})`;
}

/**
 * One record of the access log on one line, as Cilium's monitor prints it; what a terminal would obey is escaped, since
 * paths, hosts and names are a stranger's.
 */
export function accessLogText(record: AccessLogRecord, options: AccessLogOptions = {}): string {
  const { source, destination, l7 } = record;
  const ends = `from ${peerText(source, options)} to ${peerText(destination, options)}`;
  const what = record.type === 'request' ? '<- Request' : '-> Response';
  const identities = `identity ${source.identity}->${destination.identity}`;
  const verdict = `verdict ${VERDICTS[record.verdict] ?? record.verdict}`;
  const extra = options.compat === undefined ? more(record) : '';
  return printableField(
    `${what} ${l7.kind} ${ends}, ${identities}, ${verdict} ${requestText(record, options)}${extra}`,
  );
}
