import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { PingTarget } from '../../probes/icmp/index.ts';
import { errorText } from '../../src/base/errors.ts';
import type { IpFamily } from '../../src/base/ip.ts';
import type { UnresolvedHost } from './ping-output.ts';

/** `fe80::1%eth0` with the link's number for its name; undefined when there is no such link. */
function withScopeId(address: string): string | undefined {
  const [bare = '', scope] = address.split('%');
  if (scope === undefined || /^\d+$/.test(scope)) return address;
  const entry = networkInterfaces()[scope]?.find(({ family }) => family === 'IPv6');
  return entry?.family === 'IPv6' ? `${bare}%${entry.scopeid}` : undefined;
}

async function resolveHost(host: string, family: IpFamily | undefined): Promise<PingTarget | UnresolvedHost> {
  const literal = isIP(host);
  if (literal !== 0 && family !== undefined && literal !== family) {
    return { host, reason: `not an IPv${family} address` };
  }
  try {
    const { address } = literal === 0 ? await lookup(host, { family: family ?? 0 }) : { address: host };
    const scoped = withScopeId(address);
    return scoped === undefined ? { host, reason: 'no such network link' } : { host, address: scoped };
  } catch (error) {
    return { host, reason: `cannot be resolved: ${errorText(error)}` };
  }
}

/** Hosts from the standard input, between blanks or line ends, where one of the words is `-`. */
export async function expandHosts(words: readonly string[]): Promise<string[]> {
  if (!words.includes('-')) return [...words];
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) chunks.push(chunk);
  const read = Buffer.concat(chunks)
    .toString('utf8')
    .split(/\s+/)
    .filter((word) => word !== '');
  return words.flatMap((word) => (word === '-' ? read : [word]));
}

/** The address of each host, in order; those that have none are told apart. */
export async function resolveHosts(
  hosts: readonly string[],
  family: IpFamily | undefined,
): Promise<{ readonly targets: PingTarget[]; readonly unresolved: UnresolvedHost[] }> {
  const all = await Promise.all(hosts.map((host) => resolveHost(host, family)));
  return {
    targets: all.filter((one): one is PingTarget => 'address' in one),
    unresolved: all.filter((one): one is UnresolvedHost => 'reason' in one),
  };
}
