import type { NamedPort } from '../model/named-port.ts';

const portText = ({ name, protocol, port }: NamedPort): string => `${name}/${protocol}/${port}`;

/** The named ports of all endpoints of the cluster, each once; tells when they are others. */
export class NamedPorts {
  readonly #onChange: (ports: readonly NamedPort[]) => void;
  #own: readonly NamedPort[] = [];
  #others: readonly NamedPort[] = [];
  #told = '';

  constructor(onChange: (ports: readonly NamedPort[]) => void) {
    this.#onChange = onChange;
  }

  /** Those of this node's endpoints. */
  setOwn(ports: readonly NamedPort[]): void {
    this.#own = ports;
    this.#tell();
  }

  /** Those of other nodes' endpoints. */
  setOthers(ports: readonly NamedPort[]): void {
    this.#others = ports;
    this.#tell();
  }

  #tell(): void {
    const ports = new Map([...this.#own, ...this.#others].map((port) => [portText(port), port]));
    const text = [...ports.keys()].sort().join(' ');
    if (text === this.#told) return;
    this.#told = text;
    this.#onChange([...ports.values()]);
  }
}
