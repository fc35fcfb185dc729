import { randomInt } from 'node:crypto';
import { closeSync } from 'node:fs';
import { SystemError } from '../base/errors.ts';
import type { Sockets } from '../base/sockets/types.ts';
import { NO_PROXY_PORTS, PAIR_KINDS, type ProxyPorts } from '../model/l7.ts';
import { PROXY_MARK, type ProxyListener } from '../model/proxy-protocol.ts';
import { StateFile, type StateFileDeps } from './state-file.ts';

/** Range that redirect ports are taken from, host order, both ends included. */
export const PROXY_PORT_RANGE = { first: 10_000, last: 20_000 } as const;

const BACKLOG = 4096;
const TRIES = 100;
const LOOPBACK = { 4: '127.0.0.1', 6: '::1' } as const;

type ListenerName = keyof ProxyPorts;
type Transport = 'tcp' | 'udp' | 'reply';
const SOCKET_TYPE = { tcp: 'stream', udp: 'datagram', reply: 'raw-udp' } as const;

/** What there is a listener for. DNS rules are of egress only. */
const LISTENERS: readonly { readonly name: ListenerName; readonly transports: readonly Transport[] }[] = [
  { name: 'http-ingress', transports: ['tcp'] },
  { name: 'http-egress', transports: ['tcp'] },
  { name: 'kafka-ingress', transports: ['tcp'] },
  { name: 'kafka-egress', transports: ['tcp'] },
  { name: 'dns-egress', transports: ['udp', 'tcp', 'reply'] },
  ...(['tls', ...PAIR_KINDS] as const).flatMap((kind) =>
    (['ingress', 'egress'] as const).map((direction) => ({
      name: `${kind}-${direction}` as const,
      transports: ['tcp'] as const,
    })),
  ),
];

const isPort = (value: unknown): value is number =>
  typeof value === 'number' &&
  Number.isInteger(value) &&
  value >= PROXY_PORT_RANGE.first &&
  value <= PROXY_PORT_RANGE.last;

/**
 * Reads saved ports. Those of listeners that an earlier version did not have stay 0, and get a port when they are bound.
 * @throws TypeError
 */
function parsePorts(value: unknown): ProxyPorts {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError('no object');
  const saved = value as Readonly<Record<string, unknown>>;
  const ports: Record<ListenerName, number> = { ...NO_PROXY_PORTS };
  for (const { name } of LISTENERS) {
    const port = saved[name];
    if (port === undefined) continue;
    if (!isPort(port)) throw new TypeError(`${name} is no proxy port`);
    ports[name] = port;
  }
  const used = LISTENERS.map(({ name }) => ports[name]).filter((port) => port !== 0);
  if (new Set(used).size < used.length) throw new TypeError('two listeners have one port');
  return ports;
}

function errnoOf(error: unknown): string | undefined {
  const { cause } = error instanceof Error ? error : {};
  return cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : undefined;
}

/**
 * The sockets that redirected flows are handed to: one per parser and direction, on both loopback addresses. Their ports
 * are chosen once and kept in a file, since policy maps that outlive the agent name them.
 */
export class ProxyListeners {
  readonly #file: StateFile<ProxyPorts>;
  readonly #sockets: Pick<Sockets, 'openSocket'>;
  readonly #random: (first: number, last: number) => number;
  #ports: ProxyPorts = NO_PROXY_PORTS;
  #saved = false;

  constructor(
    path: string,
    deps: StateFileDeps & {
      readonly sockets: Pick<Sockets, 'openSocket'>;
      readonly random?: (first: number, last: number) => number;
    },
  ) {
    this.#file = new StateFile(path, parsePorts, deps);
    this.#sockets = deps.sockets;
    this.#random = deps.random ?? ((first, last) => randomInt(first, last + 1));
  }

  /** Those that were bound last; all 0 before the first time. */
  get ports(): ProxyPorts {
    return this.#ports;
  }

  /** Learns the ports of an earlier agent. @returns whether there are any */
  load(): boolean {
    const saved = this.#file.read();
    this.#saved = saved !== undefined;
    if (saved !== undefined) this.#ports = saved;
    return this.#saved;
  }

  /**
   * Binds all of them, each at its former port unless somebody else has taken that meanwhile. The ports are on disk
   * before this returns.
   * @throws SystemError code PROXY_PORTS, STATE_UNWRITABLE or what the sockets say; nothing stays open then
   */
  open(): readonly ProxyListener[] {
    const opened: ProxyListener[] = [];
    const ports: Record<ListenerName, number> = { ...NO_PROXY_PORTS };
    try {
      for (const { name, transports } of LISTENERS) {
        const { port, listeners } = this.#bind(name, transports, Object.values(ports));
        ports[name] = port;
        opened.push(...listeners);
      }
      this.#keep(ports);
      return opened;
    } catch (error) {
      for (const { fd } of opened) closeSync(fd);
      throw error;
    }
  }

  #keep(ports: ProxyPorts): void {
    const same = LISTENERS.every(({ name }) => this.#ports[name] === ports[name]);
    if (!same || !this.#saved) this.#file.write(ports);
    this.#saved = true;
    this.#ports = ports;
  }

  #bind(name: ListenerName, transports: readonly Transport[], taken: readonly number[]) {
    const former = this.#ports[name];
    for (let tried = 0; tried < TRIES; tried++) {
      const port =
        tried === 0 && former !== 0 ? former : this.#random(PROXY_PORT_RANGE.first, PROXY_PORT_RANGE.last);
      if (taken.includes(port)) continue;
      const listeners = this.#bindAt(name, transports, port);
      if (listeners !== undefined) return { port, listeners };
    }
    const { first, last } = PROXY_PORT_RANGE;
    throw new SystemError(`no port from ${first} to ${last} is free for the proxy's ${name} listener`, {
      code: 'PROXY_PORTS',
    });
  }

  /** @returns undefined when somebody has the port */
  #bindAt(name: ListenerName, transports: readonly Transport[], port: number): ProxyListener[] | undefined {
    const opened: ProxyListener[] = [];
    try {
      for (const transport of transports)
        for (const family of [4, 6] as const) {
          const fd = this.#socket(transport, family, port);
          if (fd !== undefined) opened.push({ name, transport: `${transport}${family}`, fd });
        }
      return opened;
    } catch (error) {
      for (const { fd } of opened) closeSync(fd);
      if (errnoOf(error) === 'EADDRINUSE') return undefined;
      throw error;
    }
  }

  /** @returns undefined for IPv6 where the machine has none */
  #socket(transport: Transport, family: 4 | 6, port: number): number | undefined {
    try {
      return this.#sockets.openSocket({
        family,
        type: SOCKET_TYPE[transport],
        mark: PROXY_MARK,
        transparent: true,
        // For datagrams it would let two sockets have one port.
        reuseAddress: transport === 'tcp',
        ...(transport !== 'reply' && { bind: { address: LOOPBACK[family], port } }),
        ...(transport === 'tcp' && { listen: BACKLOG }),
      });
    } catch (error) {
      if (family === 6 && ['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes(errnoOf(error) ?? '')) return undefined;
      throw error;
    }
  }
}
