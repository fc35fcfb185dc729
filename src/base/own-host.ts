import { isIP } from 'node:net';

/** What a request is told that was sent to somebody else's name; the status is 421. */
export const NOT_OUR_HOST =
  'asked by a name that is not ours: use an address, localhost, the name of the node, or one of --allowed-hosts';

/** The name in a Host header, without the port; undefined: it is none. */
function hostName(header: string): string | undefined {
  const match = /^(?:\[([0-9a-f:.]+)\]|([-.\w]+))(?::\d{1,5})?$/i.exec(header);
  return (match?.[1] ?? match?.[2])?.toLowerCase();
}

/**
 * Whether a request came for us. A page of somebody else's can make its own name mean our address (DNS rebinding), but not
 * an address or `localhost`: only those and names that we were told are answered.
 */
export function isOurHost(header: string | undefined, hosts: readonly string[]): boolean {
  const name = header === undefined ? undefined : hostName(header);
  if (name === undefined) return false;
  return isIP(name) !== 0 || name === 'localhost' || hosts.some((host) => host.toLowerCase() === name);
}
