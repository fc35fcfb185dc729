/**
 * Child of bench/l7.ts: the least transparent proxy that Node's sockets can be, on inherited descriptor 3. It reads and
 * judges nothing: what it costs is what any proxy in Node pays.
 */
import { createServer } from 'node:net';
import { dialFrom, loadSockets } from '../../src/base/sockets/index.ts';
import { PROXY_MARK } from '../../src/model/proxy-protocol.ts';

const sockets = loadSockets();
const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
  const { remoteAddress = '', remotePort = 0, localAddress = '', localPort = 0 } = client;
  const upstream = dialFrom(sockets, {
    from: { address: remoteAddress, port: remotePort },
    to: { address: localAddress, port: localPort },
    mark: PROXY_MARK,
  });
  upstream.setNoDelay(true);
  for (const [one, other] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    one.on('data', (bytes: Buffer) => other.write(bytes));
    one.on('error', () => undefined);
    one.on('close', () => other.destroy());
    one.on('end', () => other.end());
  }
});
server.listen({ fd: 3 });
process.on('SIGTERM', () => process.exit());
