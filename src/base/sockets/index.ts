import { isIPv4, isIPv6 } from 'node:net';
import { constants } from 'node:os';
import { loadAddon } from '../assets.ts';
import { NotPermittedError, SystemError, UsageError } from '../errors.ts';
import type { SocketOptions, Sockets } from './types.ts';

export { type DialOptions, dialFrom } from './dial.ts';
export type { SocketOptions, Sockets } from './types.ts';

/** The functions of `build/sockets.node`; the comments in sockets.c are their contract. */
interface Native {
  openSocket(
    netns: string,
    family: number,
    flags: number,
    mark: number,
    address: string,
    port: number,
    backlog: number,
    trafficClass: number,
  ): readonly [number, number];
  interfaceIndex(netns: string, name: string): readonly [number, number];
}

const FLAG = {
  stream: 1,
  transparent: 2,
  freebind: 4,
  v6only: 8,
  reuse: 16,
  mark: 32,
  bind: 64,
  listen: 128,
  rawUdp: 256,
};

/** `enum step` of sockets.c, in words. */
const STEPS = [
  'enter the network namespace',
  'socket',
  'SO_MARK',
  'IP_TRANSPARENT',
  'IP_FREEBIND',
  'IPV6_V6ONLY',
  'SO_REUSEADDR',
  'bind',
  'listen',
  'find the interface',
  'IPV6_CHECKSUM',
  'SO_ATTACH_FILTER',
  'IP_TOS',
];

const LONGEST_NAME = 15;

function errnoName(errno: number): string {
  return Object.entries(constants.errno).find(([, number]) => number === errno)?.[0] ?? `E${errno}`;
}

/** Shaped like Node's own errors of system calls: negative errno, name as code. */
function failure(what: string, errno: number, step: number): Error {
  const name = errnoName(errno);
  const call = STEPS[step] ?? 'system call';
  const cause = Object.assign(new Error(`${call}: ${name}`), { errno: -errno, code: name, syscall: call });
  const message = `${what}: ${call} failed with ${name}`;
  const code = `SOCKET_${name}`;
  if (errno === constants.errno.EPERM || errno === constants.errno.EACCES)
    return new NotPermittedError(message, {
      code,
      cause,
      hint: 'run as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN',
    });
  return new SystemError(message, { code, cause });
}

function flagsOf(options: SocketOptions): number {
  const on = (wanted: boolean, flag: number): number => (wanted ? flag : 0);
  return (
    on(options.type === 'stream', FLAG.stream) |
    on(options.type === 'raw-udp', FLAG.rawUdp) |
    on(options.transparent === true, FLAG.transparent) |
    on(options.freebind === true, FLAG.freebind) |
    on(options.v6only !== false, FLAG.v6only) |
    on(options.reuseAddress !== false, FLAG.reuse) |
    on(options.mark !== undefined, FLAG.mark) |
    on(options.bind !== undefined, FLAG.bind) |
    on(options.listen !== undefined, FLAG.listen)
  );
}

function wrong(message: string): UsageError {
  return new UsageError(`open a socket: ${message}`, { code: 'SOCKET_ARGUMENT' });
}

const isUint = (value: number, most: number): boolean =>
  Number.isInteger(value) && value >= 0 && value <= most;

function validate({ family, type, netns, mark, bind, listen, trafficClass = 0 }: SocketOptions): void {
  if (family !== 4 && family !== 6) throw wrong(`${family} is not a family (4 or 6)`);
  if (netns === '') throw wrong('the path of the namespace is empty');
  if (mark !== undefined && !isUint(mark, 0xffffffff)) throw wrong(`${mark} is not a mark`);
  if (!isUint(trafficClass, 0xff)) throw wrong(`${trafficClass} is not a traffic class`);
  if (listen !== undefined && type !== 'stream') throw wrong('only a stream listens');
  if (listen !== undefined && !isUint(listen, 0x7fffffff)) throw wrong(`${listen} is not a backlog`);
  if (bind === undefined) return;
  const fits = family === 4 ? isIPv4(bind.address) : isIPv6(bind.address);
  if (!fits) throw wrong(`${JSON.stringify(bind.address)} is not an IPv${family} address`);
  if (!isUint(bind.port, 0xffff)) throw wrong(`${bind.port} is not a port`);
}

function describe({ family, type, bind, netns }: SocketOptions): string {
  const where =
    bind === undefined ? '' : ` on ${family === 6 ? `[${bind.address}]` : bind.address}:${bind.port}`;
  return `open an IPv${family} ${type} socket${where}${netns === undefined ? '' : ` in ${netns}`}`;
}

/**
 * The addon's sockets. @throws SystemError ADDON_MISSING when `build/sockets.node` was not built
 * Errors of the calls: UsageError SOCKET_ARGUMENT, NotPermittedError or SystemError `SOCKET_<errno>`.
 */
export function loadSockets(): Sockets {
  const native = loadAddon<Native>('sockets.node');
  return {
    openSocket(options) {
      validate(options);
      const { netns = '', family, mark = 0, bind, listen = 0, trafficClass = 0 } = options;
      const [fd, step] = native.openSocket(
        netns,
        family,
        flagsOf(options),
        mark,
        bind?.address ?? '',
        bind?.port ?? 0,
        listen,
        trafficClass,
      );
      if (fd < 0) throw failure(describe(options), -fd, step);
      return fd;
    },
    interfaceIndex(name, netns) {
      if (name === '' || Buffer.byteLength(name) > LONGEST_NAME)
        throw new UsageError(`${JSON.stringify(name)} is not a name of an interface`, {
          code: 'SOCKET_ARGUMENT',
        });
      const [index, step] = native.interfaceIndex(netns ?? '', name);
      if (index < 0)
        throw failure(`look up ${name}${netns === undefined ? '' : ` in ${netns}`}`, -index, step);
      return index;
    },
  };
}
