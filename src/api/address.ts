import { UsageError } from '../base/errors.ts';
import { nodePaths } from '../base/paths.ts';

/** Where an API is served. */
export type ApiAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

export interface AddressChoice {
  /** The flag -H/--host: `unix:///path`, `/path`, `tcp://host:port`. It wins over the environment. */
  readonly host?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where the node's sockets live when neither flag nor environment says; default /var/run/ciliate. */
  readonly stateDir?: string | undefined;
}

const AGENT_VARIABLES = ['CILIATE_SOCK', 'CILIATE_HOST', 'CILIUM_SOCK', 'CILIUM_HOST'];
const HEALTH_VARIABLES = ['CILIATE_HEALTH_SOCK', 'CILIUM_HEALTH_SOCK'];

/** The agent's API: flag, CILIATE_SOCK, CILIATE_HOST, CILIUM_SOCK, CILIUM_HOST, the default socket; the first that is set. */
export function agentAddress(choice: AddressChoice): ApiAddress {
  return choose(choice, AGENT_VARIABLES, nodePaths(choice.stateDir).agentSocket);
}

/** The health agent's API: flag, CILIATE_HEALTH_SOCK, CILIUM_HEALTH_SOCK, the default socket; the first that is set. */
export function healthAddress(choice: AddressChoice): ApiAddress {
  return choose(choice, HEALTH_VARIABLES, nodePaths(choice.stateDir).healthSocket);
}

/**
 * Reads `unix:///path`, `unix:path`, `/path`, `tcp://host:port`, `http://host:port` (IPv6 hosts in brackets).
 * @throws UsageError code BAD_ADDRESS.
 */
export function parseApiAddress(text: string): ApiAddress {
  if (text.startsWith('/')) return { kind: 'unix', path: text };
  const unix = /^unix:(?:\/\/)?(\/[^/].*)$/.exec(text);
  if (unix?.[1] !== undefined) return { kind: 'unix', path: unix[1] };
  const tcp = /^(?:tcp|http):\/\/(\[[0-9a-fA-F:.]+\]|[^/:[\]]+):(\d{1,5})\/?$/.exec(text);
  const port = Number(tcp?.[2]);
  if (tcp?.[1] !== undefined && port > 0 && port <= 65535) {
    return { kind: 'tcp', host: tcp[1].replace(/^\[|\]$/g, ''), port };
  }
  throw new UsageError(`not an address of an API: ${JSON.stringify(text)}`, {
    code: 'BAD_ADDRESS',
    hint: 'write unix:///path/to.sock or tcp://host:port',
  });
}

/** `unix:///path`, `tcp://host:port`. */
export function formatApiAddress(address: ApiAddress): string {
  if (address.kind === 'unix') return `unix://${address.path}`;
  return `tcp://${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
}

function choose(choice: AddressChoice, variables: readonly string[], fallback: string): ApiAddress {
  if (choice.host !== undefined && choice.host !== '') return parseApiAddress(choice.host);
  for (const variable of variables) {
    const value = choice.env[variable];
    if (value !== undefined && value !== '') return parseApiAddress(value);
  }
  return { kind: 'unix', path: fallback };
}
