import type { NodeView } from './node-view.ts';

/** All addresses of the node list, those of health endpoints too: whose probes are expected. */
export class ListedAddresses {
  #addresses: ReadonlySet<string> = new Set();

  follow({ nodes }: Pick<NodeView, 'nodes'>): void {
    this.#addresses = new Set(nodes.flatMap(({ targets }) => targets.map(({ address }) => address)));
  }

  has(address: string): boolean {
    return this.#addresses.has(address);
  }
}
