import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { ConntrackDescriptors } from '../datapath/types.ts';
import type { ProxyListener } from '../model/proxy-protocol.ts';
import type { Inherited } from './surviving-process.ts';

/** What the proxy may do: transparent sockets and marks. */
const CAPABILITY = 'net_admin';

/** `setpriv` of util-linux in the search path; undefined when there is none. */
export function findSetpriv(searchPath = process.env.PATH ?? ''): string | undefined {
  return searchPath
    .split(':')
    .filter((folder) => folder.startsWith('/'))
    .map((folder) => join(folder, 'setpriv'))
    .find((file) => ((statSync(file, { throwIfNoEntry: false })?.mode ?? 0) & 0o111) !== 0);
}

/** A command that runs with CAP_NET_ADMIN only, whatever it executes. */
export function withReducedRights(setpriv: string, command: readonly string[]): readonly string[] {
  return [
    setpriv,
    `--bounding-set=-all,+${CAPABILITY}`,
    `--inh-caps=-all,+${CAPABILITY}`,
    `--ambient-caps=-all,+${CAPABILITY}`,
    '--no-new-privs',
    '--',
    ...command,
  ];
}

/** What the proxy process inherits, as `ProxyDescriptors` of the protocol tells. */
export function inheritedByProxy(
  listeners: readonly ProxyListener[],
  conntrack: ConntrackDescriptors | undefined,
): readonly Inherited[] {
  const maps =
    conntrack === undefined
      ? []
      : ([
          ['--conntrack-fd', conntrack.ipv4],
          ['--conntrack-fd', conntrack.ipv6],
          ['--epochs-fd', conntrack.epochs],
        ] as const);
  return [
    ...listeners.map(({ name, transport, fd }) => ({
      fd,
      words: (own: number) => ['--listener', `${name}/${transport}=${own}`],
    })),
    ...maps.map(([flag, fd]) => ({ fd, words: (own: number) => [flag, String(own)] })),
  ];
}
