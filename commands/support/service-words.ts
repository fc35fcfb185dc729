import { UsageError } from '../../src/base/errors.ts';
import { formatIp, parseIp } from '../../src/base/ip.ts';

const STATES = ['active', 'terminating', 'quarantined', 'maintenance'];

/** @throws UsageError code SERVICE_ID */
export function serviceId(text: string): number {
  const id = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (id >= 1 && id <= 0xffff) return id;
  throw new UsageError(`${JSON.stringify(text)} is not the id of a service, 1 to 65535`, {
    code: 'SERVICE_ID',
  });
}

/** The words of a flag that takes several, each with commas or alone. */
export function wordsOf(values: readonly string[] | undefined): readonly string[] {
  return (values ?? []).flatMap((value) => value.split(',')).filter((word) => word !== '');
}

export interface SocketWord {
  readonly ip: string;
  /** 1..65535 */
  readonly port: number;
  readonly protocol?: string;
}

/** Reads `10.0.0.1:80`, `10.0.0.1:53/udp`, `[fd00::1]:80`. @throws UsageError code SERVICE_ADDRESS, IP_INVALID */
export function socketWord(text: string): SocketWord {
  const [, six, four, digits = '', protocol] =
    /^(?:\[(.*)\]|([^:[\]]*)):(\d{1,5})(?:\/(\w+))?$/.exec(text) ?? [];
  const host = six ?? four;
  const port = Number(digits);
  if (host === undefined || port < 1 || port > 0xffff)
    throw new UsageError(`${JSON.stringify(text)} is not an address with a port`, {
      code: 'SERVICE_ADDRESS',
      hint: 'write 10.0.0.1:80, 10.0.0.1:53/udp or [fd00::1]:80',
    });
  return {
    ip: formatIp(parseIp(host)),
    port,
    ...(protocol !== undefined && { protocol: protocol.toUpperCase() }),
  };
}

/** States of so many backends; none given: none said. @throws UsageError code SERVICE_STATE */
export function stateWords(words: readonly string[], backends: number): readonly string[] {
  if (words.length !== 0 && words.length !== backends)
    throw new UsageError(`${words.length} states for ${backends} backends`, { code: 'SERVICE_STATE' });
  const wrong = words.find((word) => !STATES.includes(word));
  if (wrong !== undefined)
    throw new UsageError(`${JSON.stringify(wrong)} is no state of a backend`, {
      code: 'SERVICE_STATE',
      hint: `one of ${STATES.join(', ')}`,
    });
  return words;
}

/** @throws UsageError code SERVICE_AFFINITY: agents count whole seconds */
export function affinitySeconds(milliseconds: number): number {
  if (milliseconds % 1000 === 0) return milliseconds / 1000;
  throw new UsageError(`--affinity ${milliseconds}ms is not a number of whole seconds`, {
    code: 'SERVICE_AFFINITY',
  });
}
