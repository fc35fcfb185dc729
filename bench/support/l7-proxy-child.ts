/**
 * Child of bench/l7.ts: the proxy of a node around inherited descriptors, 3 its listener, 4 and 5 the conntrack maps, 6 their epochs:
 * `node l7-proxy-child.ts STATE-FOLDER`. Runs until it is told to end.
 */
import { createLog } from '../../src/base/log.ts';
import { nodePaths } from '../../src/base/paths.ts';
import { createProxyProcess } from '../../src/wiring/proxy.ts';

const proxy = createProxyProcess({
  paths: nodePaths(process.argv[2]),
  version: 'bench',
  listeners: [{ name: 'http-ingress', transport: 'tcp4', fd: 3 }],
  conntrack: { ipv4: 4, ipv6: 5, epochs: 6 },
  log: createLog({ level: 'error' }),
});
process.on('SIGTERM', () => void proxy.stop());
await proxy.start();
