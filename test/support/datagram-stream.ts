import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { loadSockets } from '../../src/base/sockets/index.ts';
import type { DatapathLab } from './datapath-lab.ts';

const BEAT_MS = 2;

/** A UDP socket in a namespace of the lab; what the network says of its datagrams is passed over. */
export async function boundDatagrams(
  lab: DatapathLab,
  namespace: string,
  address: string,
  port: number,
): Promise<Socket> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('error', () => undefined);
  const listening = once(socket, 'listening');
  const family = address.includes(':') ? 6 : 4;
  const netns = lab.net.path(namespace);
  socket.bind({ fd: loadSockets().openSocket({ family, type: 'datagram', netns, bind: { address, port } }) });
  await listening;
  return socket;
}

/** Datagrams from one namespace to another, one every BEAT_MS, and how many arrived. */
export class DatagramStream {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #timer: NodeJS.Timeout;
  sent = 0;
  received = 0;

  private constructor(from: Socket, to: Socket, address: string, port: number) {
    this.#from = from;
    this.#to = to;
    to.on('message', () => this.received++);
    this.#timer = setInterval(() => {
      from.send('x', port, address);
      this.sent++;
    }, BEAT_MS);
  }

  static async open(lab: DatapathLab, from: string, to: string, address: string, port: number) {
    const receiver = await boundDatagrams(lab, to, address, port);
    const sender = await boundDatagrams(lab, from, address.includes(':') ? '::' : '0.0.0.0', 0);
    return new DatagramStream(sender, receiver, address, port);
  }

  /** Stops sending and waits for what is under way. */
  async end(): Promise<void> {
    clearInterval(this.#timer);
    await delay(100);
    this.#from.close();
    this.#to.close();
  }
}
