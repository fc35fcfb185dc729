import type { NamedPort } from '../model/named-port.ts';

/** A text that two lists share exactly when they name the same ports. */
export function namedPortsText(ports: readonly NamedPort[]): string {
  const texts = ports.map(({ name, protocol, port }) => `${name}/${protocol}/${port}`);
  return [...new Set(texts)].sort().join(' ');
}

/** What names stand for: of one endpoint, or of the whole cluster. */
export class PortNames {
  readonly #ports = new Map<string, Set<number>>();

  constructor(ports: readonly NamedPort[] = []) {
    for (const { name, protocol, port } of ports) {
      const key = `${name}/${protocol}`;
      const numbers = this.#ports.get(key) ?? new Set();
      numbers.add(port);
      this.#ports.set(key, numbers);
    }
  }

  /** The number of a name; undefined when nobody gave it one, or several did different ones: then it stands for none. */
  number(name: string, protocol: number): number | undefined {
    const numbers = this.#ports.get(`${name}/${protocol}`);
    if (numbers === undefined || numbers.size > 1) return undefined;
    return [...numbers][0];
  }
}
