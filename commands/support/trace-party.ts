import { isIP } from 'node:net';
import type { AgentClient } from '../../src/api/client.ts';
import type * as Api from '../../src/api/schema.ts';
import { UsageError } from '../../src/base/errors.ts';
import { type Cidr, cidrContains, formatCidr, ipFamily, parseCidr, parseIp } from '../../src/base/ip.ts';
import { foldDnsName } from '../../src/model/dns-pattern.ts';
import { isLocalIdentity, isOutsideIdentity, RESERVED_IDENTITIES } from '../../src/model/identity.ts';
import { formatLabels, labelSet, parseLabels } from '../../src/model/labels.ts';
import type { NamedPort, TraceParty } from '../../src/policy/index.ts';

/** The ways to name one end of the traffic; exactly one is given. */
export interface PartyWords {
  readonly labels?: readonly string[] | undefined;
  readonly identity?: string | undefined;
  readonly endpoint?: string | undefined;
  readonly pod?: string | undefined;
  readonly ip?: string | undefined;
  readonly fqdn?: string | undefined;
}

const PROTOCOLS: Readonly<Record<string, number>> = { TCP: 6, UDP: 17, SCTP: 132 };

/** One end as the user named it. */
export interface NamedParty {
  readonly party: TraceParty;
  /** The labels that were given, for people. */
  readonly words: string;
  /** Identities that carry the labels, where they are several; else none. */
  readonly carriers: readonly TraceParty[];
}

/** The ends of the traffic that is traced, from what the user said and, where there is one, what the agent knows. */
export class Parties {
  readonly #agent: AgentClient | undefined;
  readonly notes: string[] = [];

  /** @param agent undefined: nothing but labels, addresses and names can be given */
  constructor(agent: AgentClient | undefined) {
    this.#agent = agent;
  }

  /** @param end `src` or `dst`, as its flags begin */
  async resolve(words: PartyWords, end: 'src' | 'dst'): Promise<NamedParty> {
    const { labels, ...single } = words;
    const given = Object.entries(single).filter(([, text]) => text !== undefined);
    const all = given.length + ((labels ?? []).length > 0 ? 1 : 0);
    if (all !== 1) {
      const kinds = ['identity', 'endpoint', 'k8s-pod', 'ip', ...(end === 'dst' ? ['fqdn'] : [])];
      const ways = [`--${end} LABEL...`, ...kinds.map((kind) => `--${end}-${kind}`)];
      throw new UsageError(
        all === 0 ? `say whose traffic it is: --${end}` : `say only one way who --${end} is`,
        {
          code: 'TRACE_PARTY',
          hint: `${ways.slice(0, -1).join(', ')} or ${ways.at(-1)}`,
        },
      );
    }
    if (labels !== undefined && labels.length > 0) return this.#labels(labels, `--${end}`);
    return { party: await this.#single(words, `--${end}`), words: '', carriers: [] };
  }

  #single({ endpoint, pod, identity, ip, fqdn = '' }: PartyWords, flag: string): Promise<TraceParty> {
    if (endpoint !== undefined) return this.#endpoint(endpoint, `${flag}-endpoint`);
    if (pod !== undefined) return this.#pod(pod, `${flag}-k8s-pod`);
    if (identity !== undefined) return this.#identity(identity, `${flag}-identity`);
    return ip === undefined ? this.#name(fqdn) : this.#address(ip);
  }

  #needed(flag: string): AgentClient {
    if (this.#agent !== undefined) return this.#agent;
    throw new UsageError(`${flag} needs an agent to ask, and --policy traces without one`, {
      code: 'TRACE_OFFLINE',
      hint: 'give the labels instead',
    });
  }

  async #endpoint(id: string, flag: string): Promise<TraceParty> {
    return endpointParty(await this.#needed(flag).endpoint(id));
  }

  /** A pod of this node is an endpoint of it; the addresses of others name theirs. */
  async #pod(text: string, flag: string): Promise<TraceParty> {
    const [, namespace, name] = /^([^/:]+)[/:]([^/:]+)$/.exec(text) ?? [];
    if (namespace === undefined || name === undefined) {
      throw new UsageError(`${JSON.stringify(text)} is not namespace/name of a pod`, { code: 'TRACE_POD' });
    }
    const agent = this.#needed(flag);
    for (const endpoint of await agent.endpoints()) {
      const ids = endpoint.status?.['external-identifiers'];
      if (ids?.['k8s-namespace'] === namespace && ids['k8s-pod-name'] === name)
        return endpointParty(endpoint);
    }
    const entry = (await agent.ips()).find(
      ({ metadata }) => metadata?.namespace === namespace && metadata.name === name,
    );
    if (entry === undefined) {
      throw new UsageError(`no pod ${namespace}/${name} is known here`, { code: 'TRACE_POD' });
    }
    return { ...(await this.#byNumber(agent, entry.identity)), title: `pod ${namespace}/${name}` };
  }

  async #identity(text: string, flag: string): Promise<TraceParty> {
    if (!/^\d{1,10}$/.test(text)) {
      throw new UsageError(`${flag} ${JSON.stringify(text)} is not the number of an identity`, {
        code: 'IDENTITY_NUMBER',
      });
    }
    const id = Number(text);
    const reserved = RESERVED_IDENTITIES.find((identity) => identity.id === id);
    if (reserved !== undefined) {
      return { title: shown(formatLabels(reserved.labels), id), labels: reserved.labels, identity: id };
    }
    return this.#byNumber(this.#needed(flag), id);
  }

  async #byNumber(agent: AgentClient, id: number): Promise<TraceParty> {
    const texts = (await agent.identity(id)).labels ?? [];
    const labels = labelSet(parseLabels(texts));
    const cidr = labels.find(({ source }) => source === 'cidr');
    const party = { title: shown(texts, id), labels, identity: id };
    return cidr === undefined || !isLocalIdentity(id) ? party : { ...party, prefix: parseCidr(cidr.key) };
  }

  async #labels(texts: readonly string[], flag: string): Promise<NamedParty> {
    const words = texts.flatMap((text) => text.split(',')).filter((text) => text !== '');
    // A verdict about a label that nobody has would be taken for one about the address.
    const other = words.find((word) => /^\d+$/.test(word) || isIP(word.split('/')[0] ?? '') !== 0);
    if (other !== undefined)
      throw new UsageError(`${flag} takes labels, and ${JSON.stringify(other)} is none`, {
        code: 'TRACE_PARTY',
        hint: /^\d+$/.test(other)
          ? `${flag}-endpoint ${other} or ${flag}-identity ${other}`
          : `${flag}-ip ${other}`,
      });
    const wanted = parseLabels(words, 'any');
    const found = ((await this.#agent?.identities(formatLabels(wanted))) ?? []).flatMap(carrier);
    const [only, ...others] = found;
    const text = words.join(',');
    if (only !== undefined) return { party: only, words: text, carriers: others.length === 0 ? [] : found };
    if (this.#agent !== undefined)
      this.notes.push(`no identity carries ${text}: traced as one that has just these`);
    // What has no source is taken as a pod's label.
    const labels = labelSet(parseLabels(words, 'k8s'));
    const reserved = RESERVED_IDENTITIES.find(
      (identity) => formatLabels(identity.labels).join() === formatLabels(labels).join(),
    );
    const title = shown(formatLabels(labels), reserved?.id);
    return { party: { title, labels, identity: reserved?.id }, words: text, carriers: [] };
  }

  async #address(text: string): Promise<TraceParty> {
    const prefix = parsePrefix(text);
    const entries = (await this.#agent?.ips()) ?? [];
    const holds = entries
      .map((entry) => ({ entry, cidr: parseCidr(entry.cidr) }))
      .filter(({ cidr }) => cidr.length <= prefix.length && cidrContains(cidr, prefix.bytes))
      .sort((a, b) => b.cidr.length - a.cidr.length)[0];
    const identity = holds?.entry.identity ?? 0;
    const inside = holds !== undefined && identity !== 0 && !isOutsideIdentity(identity);
    if (inside && this.#agent !== undefined) {
      const endpoint = (await this.#agent.endpoints()).find((one) => hasAddress(one, text));
      const party =
        endpoint === undefined ? await this.#byNumber(this.#agent, identity) : endpointParty(endpoint);
      return { ...party, title: `${text} (${party.title})` };
    }
    return this.#outside(text, prefix, isLocalIdentity(identity) ? identity : undefined);
  }

  async #outside(text: string, prefix: Cidr, identity: number | undefined): Promise<TraceParty> {
    const lookups = this.#agent === undefined ? [] : await this.#namesKnown(this.#agent);
    const names = lookups.filter(({ ips }) => ips?.includes(text)).map(({ fqdn }) => foldDnsName(fqdn ?? ''));
    const family = prefix.family === 4 ? 'world-ipv4' : 'world-ipv6';
    const labels = parseLabels([`reserved:${family}`, 'reserved:world']);
    return { title: text, labels, identity: identity ?? 2, prefix, names: [...new Set(names)] };
  }

  /** An older agent knows no names. */
  async #namesKnown(agent: AgentClient): Promise<readonly Api.DNSLookup[]> {
    return agent.fqdnCache();
  }

  async #name(text: string): Promise<TraceParty> {
    const name = foldDnsName(text);
    const lookups = this.#agent === undefined ? [] : await this.#namesKnown(this.#agent);
    const found = lookups.find(({ fqdn }) => foldDnsName(fqdn ?? '') === name);
    const address = found?.ips?.[0];
    if (address !== undefined)
      return { ...(await this.#address(address)), title: `${name} (${address})`, names: [name] };
    // An address that no prefix of a rule but the whole holds: the name is all that is known.
    if (this.#agent !== undefined)
      this.notes.push(`${name} was not looked up here; rules by prefix are not considered`);
    const prefix: Cidr = { family: 4, bytes: Uint8Array.of(0, 0, 0, 0), length: 0 };
    return {
      title: name,
      labels: parseLabels(['reserved:world', 'reserved:world-ipv4']),
      identity: 2,
      prefix,
      names: [name],
    };
  }
}

function hasAddress(endpoint: Api.Endpoint, text: string): boolean {
  return (endpoint.status?.networking?.addressing ?? []).some(
    (pair) => pair?.ipv4 === text || pair?.ipv6 === text,
  );
}

function carrier({ id, labels = [] }: Api.Identity): readonly TraceParty[] {
  if (id === undefined) return [];
  const texts = labels ?? [];
  return [{ title: shown(texts, id), labels: labelSet(parseLabels(texts)), identity: id }];
}

function shown(labels: readonly string[], identity: number | undefined): string {
  const names = labels.join(',') || 'no labels';
  return identity === undefined ? names : `${names} (identity ${identity})`;
}

function endpointParty(endpoint: Api.Endpoint): TraceParty {
  const identity = endpoint.status?.identity;
  const texts = identity?.labels ?? [];
  const ports = endpoint.status?.namedPorts ?? [];
  return {
    title: `endpoint ${endpoint.id ?? 0} ${shown(texts, identity?.id)}`,
    labels: labelSet(parseLabels(texts)),
    identity: identity?.id,
    endpoint: endpoint.id,
    namedPorts: ports.flatMap(namedPort),
  };
}

/** A named port of the API; one that is not whole is none. */
export function namedPort(port: Api.Port): readonly NamedPort[] {
  const protocol = PROTOCOLS[(port.protocol ?? 'TCP').toUpperCase()];
  if (protocol === undefined || port.name === undefined || port.port === undefined) return [];
  return [{ name: port.name, protocol, port: port.port }];
}

/** @throws UsageError */
function parsePrefix(text: string): Cidr {
  if (text.includes('/')) return parseCidr(text);
  const bytes = parseIp(text);
  return parseCidr(formatCidr({ family: ipFamily(bytes), bytes, length: bytes.length * 8 }));
}
