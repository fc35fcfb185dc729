import { SystemError } from '../base/errors.ts';
import { parseIp } from '../base/ip.ts';
import type { Identity } from '../model/identity.ts';
import { formatLabels, type Label, parseLabels } from '../model/labels.ts';
import { areNamedPorts, type NamedPort } from '../model/named-port.ts';
import type { Endpoint, EndpointSpec } from './endpoint.ts';

const RECORD_VERSION = 1;

/** What an endpoint's `state.json` holds: enough to find it again after the agent's death. */
export interface EndpointRecord {
  readonly spec: EndpointSpec;
  readonly labels: readonly Label[];
  readonly options: Readonly<Record<string, string>>;
  readonly identity: Identity | undefined;
}

export function recordOf(endpoint: Endpoint): EndpointRecord {
  const { spec, labels, options, identity } = endpoint;
  return { spec, labels, options, identity };
}

export function formatRecord({ spec, labels, options, identity }: EndpointRecord): string {
  const body = {
    version: RECORD_VERSION,
    spec,
    labels: formatLabels(labels),
    options,
    identity: identity && { id: identity.id, labels: formatLabels(identity.labels) },
  };
  return `${JSON.stringify(body, undefined, 2)}\n`;
}

class Reader {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  fail(what: string): never {
    throw new SystemError(`${this.#path}: ${what}`, { code: 'STATE_CORRUPT' });
  }

  object(value: unknown, name: string): Readonly<Record<string, unknown>> {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return this.fail(`${name} is no object`);
    return value as Readonly<Record<string, unknown>>;
  }

  text(from: Readonly<Record<string, unknown>>, name: string): string {
    const value = from[name];
    return typeof value === 'string' ? value : this.fail(`${name} is no text`);
  }

  optionalText(from: Readonly<Record<string, unknown>>, name: string): string | undefined {
    return from[name] === undefined ? undefined : this.text(from, name);
  }

  integer(from: Readonly<Record<string, unknown>>, name: string, max: number): number {
    const value = from[name];
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max) return value;
    return this.fail(`${name} is no whole number up to ${max}`);
  }

  address(from: Readonly<Record<string, unknown>>, name: string): string | undefined {
    const text = this.optionalText(from, name);
    if (text !== undefined) parseIp(text);
    return text;
  }

  /** Records of before there were any have none. */
  namedPorts(value: unknown, name: string): readonly NamedPort[] {
    if (value === undefined) return [];
    return areNamedPorts(value) ? value : this.fail(`${name} holds no named ports`);
  }

  labels(value: unknown, name: string): readonly Label[] {
    if (!Array.isArray(value)) return this.fail(`${name} is no list`);
    return parseLabels(
      value.map((item) => (typeof item === 'string' ? item : this.fail(`${name} holds no texts`))),
    );
  }

  texts(value: unknown, name: string): Readonly<Record<string, string>> {
    const entries = Object.entries(this.object(value, name));
    return Object.fromEntries(
      entries.map(([key, item]) => [
        key,
        typeof item === 'string' ? item : this.fail(`${name}.${key} is no text`),
      ]),
    );
  }
}

function readSpec(reader: Reader, value: unknown): EndpointSpec {
  const spec = reader.object(value, 'spec');
  return {
    id: reader.integer(spec, 'id', 65535),
    interfaceName: reader.text(spec, 'interfaceName'),
    interfaceIndex: reader.integer(spec, 'interfaceIndex', 2 ** 31 - 1),
    mac: reader.text(spec, 'mac'),
    hostMac: reader.text(spec, 'hostMac'),
    ipv4: reader.address(spec, 'ipv4'),
    ipv6: reader.address(spec, 'ipv6'),
    containerId: reader.optionalText(spec, 'containerId'),
    containerName: reader.optionalText(spec, 'containerName'),
    containerInterfaceName: reader.optionalText(spec, 'containerInterfaceName'),
    netnsPath: reader.optionalText(spec, 'netnsPath'),
    dockerEndpointId: reader.optionalText(spec, 'dockerEndpointId'),
    dockerNetworkId: reader.optionalText(spec, 'dockerNetworkId'),
    k8sPodName: reader.optionalText(spec, 'k8sPodName'),
    k8sNamespace: reader.optionalText(spec, 'k8sNamespace'),
    namedPorts: reader.namedPorts(spec.namedPorts, 'namedPorts'),
  };
}

function readIdentity(reader: Reader, value: unknown): Identity | undefined {
  if (value === undefined) return undefined;
  const identity = reader.object(value, 'identity');
  return {
    id: reader.integer(identity, 'id', 2 ** 32 - 1),
    labels: reader.labels(identity.labels, 'identity.labels'),
  };
}

/**
 * Reads a record's text; trusts nothing in it.
 * @throws SystemError code STATE_CORRUPT, UsageError (an address or label), SyntaxError (no JSON)
 */
export function parseRecord(text: string, path: string): EndpointRecord {
  const reader = new Reader(path);
  const body = reader.object(JSON.parse(text), 'record');
  if (body.version !== RECORD_VERSION)
    reader.fail(`version ${String(body.version)} is not ${RECORD_VERSION}`);
  return {
    spec: readSpec(reader, body.spec),
    labels: reader.labels(body.labels, 'labels'),
    options: reader.texts(body.options, 'options'),
    identity: readIdentity(reader, body.identity),
  };
}
