/**
 * Child of bench/l7.ts: the proxy on inherited descriptor 3, before the server on 127.0.0.1 at a port, with its control
 * socket at a path: `node l7-proxy-child.ts SOCKET PORT`. Runs until it is told to end.
 */
import { connect } from 'node:net';
import { createLog } from '../../src/base/log.ts';
import { createProxy } from '../../src/proxy/index.ts';

const [socketPath = '', port = ''] = process.argv.slice(2);
const proxy = createProxy(
  { socketPath, version: 'bench', listeners: [{ name: 'http-ingress', transport: 'tcp4', fd: 3 }] },
  {
    flowOf: () => ({ client: 100, server: 200 }),
    dial: () => connect({ host: '127.0.0.1', port: Number(port), allowHalfOpen: true }),
    log: createLog({ level: 'error' }),
  },
);
process.on('SIGTERM', () => void proxy.stop());
await proxy.start();
