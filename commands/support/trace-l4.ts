import { UsageError } from '../../src/base/errors.ts';
import type { TraceL4 } from '../../src/policy/index.ts';

const PROTOCOLS: Readonly<Record<string, number>> = { tcp: 6, udp: 17, sctp: 132 };

/** Names of the types that people trace, as rules may also write them. */
const ICMP: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  icmp: {
    echoreply: 0,
    'echo-reply': 0,
    destinationunreachable: 3,
    echo: 8,
    'echo-request': 8,
    echorequest: 8,
    timeexceeded: 11,
  },
  icmpv6: {
    destinationunreachable: 1,
    'echo-request': 128,
    echo: 128,
    echorequest: 128,
    'echo-reply': 129,
    echoreply: 129,
    neighborsolicitation: 135,
  },
};

function icmp(text: string): TraceL4 {
  const [kind = '', type = ''] = text.toLowerCase().split('/');
  const number = /^\d{1,3}$/.test(type) ? Number(type) : ICMP[kind]?.[type];
  if (number === undefined || number > 255) {
    throw new UsageError(`${JSON.stringify(text)} is no type of ICMP`, {
      code: 'TRACE_PORT',
      hint: 'write icmp/8, icmp/echo-request or icmpv6/128',
    });
  }
  return { kind: 'icmp', family: kind === 'icmp' ? 4 : 6, type: number };
}

/**
 * Reads `80`, `80/tcp`, `53/UDP`, `icmp/8`, `icmpv6/echo-request`; without a protocol it is TCP. Nothing: any traffic.
 * @throws UsageError TRACE_PORT
 */
export function parseTraceL4(text: string | undefined): TraceL4 {
  if (text === undefined) return { kind: 'any' };
  if (/^icmp(v6)?\//i.test(text)) return icmp(text);
  const [, port = '', name = 'tcp'] = /^(\d{1,5})(?:\/([a-z]+))?$/i.exec(text) ?? [];
  const protocol = PROTOCOLS[name.toLowerCase()];
  if (port === '' || protocol === undefined || Number(port) > 65535 || Number(port) === 0) {
    throw new UsageError(`--dport ${JSON.stringify(text)} is no port`, {
      code: 'TRACE_PORT',
      hint: 'write 80, 80/tcp, 53/udp, 9/sctp, icmp/8 or icmpv6/128',
    });
  }
  return { kind: 'port', protocol, port: Number(port) };
}
