/**
 * A DNS proxy that listens on port 53 of every address: `node part-child.ts PATTERN...`. Redirection is the routing table's.
 * Writes lines of JSON: `{observed}` for what it tells the agent, which applies at once unless the name begins with `late`,
 * `{record}` for the access log, `{counters}` when its input ends.
 */
import { silentLog } from '../../../src/base/log.ts';
import { dialFrom } from '../../../src/base/sockets/dial.ts';
import { loadSockets } from '../../../src/base/sockets/index.ts';
import { PROXY_MARK, type ProxyToAgent } from '../../../src/model/proxy-protocol.ts';
import {
  createDnsPart,
  type Dial,
  type DnsPart,
  PolicyHolder,
  systemClock,
} from '../../../src/proxy/index.ts';
import { dnsFilter } from './desk-rig.ts';

const sockets = loadSockets();
const holder = new PolicyHolder();
const [addresses = '', ...patterns] = process.argv.slice(2);
const say = (line: unknown): void => console.log(JSON.stringify(line));

let part: DnsPart | undefined;
function observed(message: ProxyToAgent): boolean {
  if (message.type !== 'dns-observed') return true;
  say({ observed: message.observation });
  if (message.observation.names[0]?.startsWith('late') !== true)
    setImmediate(() => part?.onMessage?.({ type: 'dns-applied', id: message.id }));
  return true;
}

holder.apply(
  {
    revision: 1,
    subjects: [{ subject: 300, ingress: undefined, egress: [dnsFilter('default/rule', patterns)] }],
  },
  [{ endpoint: 7, identity: 300, addresses: addresses.split(',') }],
);
const dial: Dial = (from, to) => dialFrom(sockets, { from, to, mark: PROXY_MARK });
part = createDnsPart(
  { mark: PROXY_MARK, limits: { applyTimeoutMs: 300 } },
  {
    policy: holder,
    clock: systemClock,
    flowOf: () => ({ client: 300, server: 9 }),
    dial,
    dialStream: dial,
    record: (record) => say({ record }),
    send: observed,
    log: silentLog,
  },
);
for (const family of [4, 6] as const) {
  const bind = { address: family === 4 ? '0.0.0.0' : '::', port: 53 };
  const common = { family, transparent: true, mark: PROXY_MARK } as const;
  const open = {
    udp: sockets.openSocket({ ...common, type: 'datagram', bind }),
    tcp: sockets.openSocket({ ...common, type: 'stream', bind, listen: 64 }),
    reply: sockets.openSocket({ ...common, type: 'raw-udp' }),
  };
  for (const [transport, fd] of Object.entries(open))
    await part.listen({ name: 'dns-egress', transport: `${transport as 'udp'}${family}`, fd });
}
process.stdin.on('end', () => {
  say({ counters: part?.counters, usage: part?.usage() });
  void part?.stop();
});
process.stdin.resume();
console.log('ready');
