/**
 * A DNS proxy on port 53 for bench/dns.ts, with an agent that puts addresses in force at once: what is measured is the
 * proxy. `node dns-proxy.ts CLIENT-ADDRESS PATTERN...`
 */
import { silentLog } from '../../src/base/log.ts';
import { dialFrom, loadSockets } from '../../src/base/sockets/index.ts';
import { parseDnsPattern } from '../../src/model/dns-pattern.ts';
import { PROXY_MARK, type ProxyToAgent } from '../../src/model/proxy-protocol.ts';
import { createDnsPart, type Dial, type DnsPart, PolicyHolder, systemClock } from '../../src/proxy/index.ts';

const [address = '', ...patterns] = process.argv.slice(2);
const sockets = loadSockets();
const policy = new PolicyHolder();
const filter = {
  ...{ protocol: 0, firstPort: 53, lastPort: 53, peers: undefined, ruleId: 1, ruleName: 'bench' },
  l7: { kind: 'dns', rules: patterns.map(parseDnsPattern) },
} as const;
policy.apply({ revision: 1, subjects: [{ subject: 300, ingress: undefined, egress: [filter] }] }, [
  { endpoint: 7, identity: 300, addresses: [address] },
]);

const dial: Dial = (from, to) => dialFrom(sockets, { from, to, mark: PROXY_MARK });

let part: DnsPart | undefined;
function send(message: ProxyToAgent): boolean {
  if (message.type === 'dns-observed')
    setImmediate(() => part?.onMessage?.({ type: 'dns-applied', id: message.id }));
  return true;
}

part = createDnsPart(
  { mark: PROXY_MARK },
  {
    policy,
    clock: systemClock,
    flowOf: () => ({ client: 300, server: 9 }),
    dial,
    dialStream: dial,
    record: () => undefined,
    send,
    log: silentLog,
  },
);
const common = { family: 4, transparent: true, mark: PROXY_MARK } as const;
const udp = sockets.openSocket({ ...common, type: 'datagram', bind: { address: '0.0.0.0', port: 53 } });
const reply = sockets.openSocket({ ...common, type: 'raw-udp' });
await part.listen({ name: 'dns-egress', transport: 'udp4', fd: udp });
await part.listen({ name: 'dns-egress', transport: 'reply4', fd: reply });
console.log('ready');
