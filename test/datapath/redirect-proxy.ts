/**
 * The least transparent proxy: what is handed to it goes on to where it was sent, from where it came. It answers the
 * question how the datapath treats a proxy, and judges nothing. Run in the node's network namespace.
 * argv: port, JSON of the node's own addresses. Writes a line for each flow, and `ready`.
 */
import { createServer, type Socket } from 'node:net';
import { formatIp } from '../../src/base/ip.ts';
import { Datagrams } from '../../src/base/sockets/datagrams.ts';
import { dialFrom, loadSockets } from '../../src/base/sockets/index.ts';
import { PacketMark } from '../../src/model/constants.gen.ts';

const mark = PacketMark.fromProxy;
const port = Number(process.argv[2]);
const own = new Set(JSON.parse(process.argv[3] ?? '[]') as string[]);
const sockets = loadSockets();

/** The node's own addresses are taken by its own sockets, with the same ports. */
function dial(client: Socket): Socket {
  const { remoteAddress = '', remotePort = 0, localAddress = '', localPort = 0 } = client;
  const from = own.has(localAddress)
    ? undefined
    : { address: remoteAddress, port: own.has(remoteAddress) ? 0 : remotePort };
  console.log(`tcp ${remoteAddress}/${remotePort} ${localAddress}/${localPort}`);
  return dialFrom(sockets, { from, to: { address: localAddress, port: localPort }, mark });
}

function serve(client: Socket): void {
  const server = dial(client);
  for (const [one, other] of [
    [client, server],
    [server, client],
  ] as const) {
    one.on('error', (error) => {
      console.log(`error ${error.message}`);
      other.resetAndDestroy();
    });
    one.pipe(other);
  }
}

for (const [family, address] of [
  [4, '127.0.0.1'],
  [6, '::1'],
] as const) {
  const listener = { family, mark, transparent: true, bind: { address, port } } as const;
  const fd = sockets.openSocket({ ...listener, type: 'stream', listen: 512 });
  createServer({ allowHalfOpen: true, noDelay: true }, serve).listen({ fd });
  const replies = sockets.openSocket({ family, type: 'raw-udp', mark, transparent: true });
  const flows = new Map<number, Parameters<Datagrams['reply']>[1]>();
  const datagrams = new Datagrams({
    onQuery(flow, bytes) {
      console.log(
        `udp ${formatIp(flow.client)}/${flow.clientPort} ${formatIp(flow.server)}/${flow.serverPort}`,
      );
      const text = JSON.stringify(flow);
      const known = [...flows].find(([, other]) => JSON.stringify(other) === text)?.[0];
      const tag = known ?? datagrams.connect(flow, mark);
      if (tag < 0) throw new Error(`connect: ${tag}`);
      flows.set(tag, flow);
      datagrams.send(tag, Uint8Array.from(bytes));
    },
    onAnswer(tag, bytes) {
      const flow = flows.get(tag);
      if (flow !== undefined) datagrams.reply(replies, flow, Uint8Array.from(bytes));
    },
    onError: (_tag, code) => console.log(`udp error ${code}`),
  });
  datagrams.listen(sockets.openSocket({ ...listener, type: 'datagram', reuseAddress: false }), family);
}
console.log('ready');
