import type { Socket } from 'node:net';
import { CONNECTIONS_A_SOURCE, STRANGERS_MAX } from './constants.ts';

const IPV4_IN_IPV6 = '::ffff:';

/** Address of the other end; IPv4 as such, also on a socket of IPv6. */
export function remoteOf({ remoteAddress = '' }: Pick<Socket, 'remoteAddress'>): string {
  return remoteAddress.startsWith(IPV4_IN_IPV6) && remoteAddress.includes('.')
    ? remoteAddress.slice(IPV4_IN_IPV6.length)
    : remoteAddress;
}

/**
 * Keeps room for those whose probes are expected: whoever else holds connections open has a part of them only, and nobody
 * has many from one address. Else any pod could make a health agent look as if it hung.
 */
export class Admission {
  readonly #isExpected: (address: string) => boolean;
  readonly #open = new Map<string, number>();
  #strangers = 0;

  constructor(isExpected: (address: string) => boolean) {
    this.#isExpected = isExpected;
  }

  /** Counts the connection until it closes. @returns false when it has no place */
  admit(socket: Socket): boolean {
    const address = remoteOf(socket);
    const open = this.#open.get(address) ?? 0;
    const isStranger = !this.#isExpected(address);
    if (open >= CONNECTIONS_A_SOURCE || (isStranger && this.#strangers >= STRANGERS_MAX)) return false;
    this.#open.set(address, open + 1);
    if (isStranger) this.#strangers++;
    socket.once('close', () => {
      if (isStranger) this.#strangers--;
      const left = (this.#open.get(address) ?? 1) - 1;
      if (left > 0) this.#open.set(address, left);
      else this.#open.delete(address);
    });
    return true;
  }
}
