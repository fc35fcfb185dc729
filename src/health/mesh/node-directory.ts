import { hash } from 'node:crypto';
import type { Slices } from '../../base/slices.ts';
import type { MatrixView } from '../../model/health.ts';

/** A node of the list, as far as rows need it. */
export interface DirectoryNode {
  readonly name: string;
  readonly zone?: string | undefined;
  /** Of the node itself, in text form: rows of it may come from there. */
  readonly addresses: readonly string[];
}

/** A node's name in messages between nodes: the first 48 bits of the SHA-256 of its name. */
export function nodeId(name: string): number {
  return hash('sha256', name, 'buffer').readUIntBE(0, 6);
}

/** What rows have room for: slots are 16 bits wide. */
export const NODES_MAX = 65_535;
/** Hashed in one slice: some 5 ms. */
const IDS_A_SLICE = 1000;

interface Entry {
  readonly slot: number;
  readonly id: number;
  node: DirectoryNode;
}

/** The node list by name, id and address. Each node has a small number, its slot, that nobody else has while it stays. */
export class NodeDirectory {
  readonly #byName = new Map<string, Entry>();
  readonly #bySlot: (Entry | undefined)[] = [];
  readonly #byId = new Map<number, Entry>();
  readonly #byAddress = new Map<string, Entry>();
  readonly #free: number[] = [];
  readonly #leaveListeners: ((slots: ReadonlySet<number>) => void)[] = [];
  readonly #joinListeners: ((ids: ReadonlySet<number>) => void)[] = [];
  #sorted: readonly Entry[] | undefined;
  #listed: MatrixView['nodes'] | undefined;
  #refused = 0;

  /** Ids of the nodes of a list that are new, slice by slice. */
  *newIds(names: readonly string[]): Slices<ReadonlyMap<string, number>> {
    const ids = new Map<string, number>();
    for (const name of names) {
      if (this.#byName.has(name)) continue;
      ids.set(name, nodeId(name));
      if (ids.size % IDS_A_SLICE === 0) yield;
    }
    return ids;
  }

  /** Takes the node list. Slots of nodes that left are given anew only after all listeners were told. @param ids of new ones, if known */
  update(nodes: readonly DirectoryNode[], ids: ReadonlyMap<string, number> = new Map()): void {
    this.#sorted = undefined;
    this.#listed = undefined;
    this.#refused = 0;
    const names = new Set(nodes.map(({ name }) => name));
    const gone = [...this.#byName.values()].filter(({ node }) => !names.has(node.name));
    this.#leave(gone);
    this.#byAddress.clear();
    const joined = new Set(
      nodes.map((node) => this.#join(node, ids.get(node.name))).filter((id) => id !== undefined),
    );
    if (joined.size > 0) for (const listener of this.#joinListeners) listener(joined);
  }

  #leave(gone: readonly Entry[]): void {
    if (gone.length === 0) return;
    for (const { slot, id, node } of gone) {
      this.#byName.delete(node.name);
      this.#byId.delete(id);
      this.#bySlot[slot] = undefined;
    }
    const slots = new Set(gone.map(({ slot }) => slot));
    for (const listener of this.#leaveListeners) listener(slots);
    this.#free.push(...slots);
  }

  /** @returns its id if it is new */
  #join(node: DirectoryNode, known: number | undefined): number | undefined {
    let entry = this.#byName.get(node.name);
    const isNew = entry === undefined;
    if (entry === undefined) {
      const id = known ?? nodeId(node.name);
      if (this.#byName.size >= NODES_MAX || this.#byId.has(id)) {
        this.#refused++;
        return undefined;
      }
      entry = { slot: this.#free.pop() ?? this.#bySlot.length, id, node };
      this.#byName.set(node.name, entry);
      this.#byId.set(id, entry);
      this.#bySlot[entry.slot] = entry;
    }
    entry.node = node;
    for (const address of node.addresses) this.#byAddress.set(address, entry);
    return isNew ? entry.id : undefined;
  }

  /** Calls back with the slots of nodes that left. */
  onLeave(listener: (slots: ReadonlySet<number>) => void): void {
    this.#leaveListeners.push(listener);
  }

  /** Calls back with the ids of nodes that are new. */
  onJoin(listener: (ids: ReadonlySet<number>) => void): void {
    this.#joinListeners.push(listener);
  }

  /** Nodes of the list that have no slot: too many, or an id that another one has. */
  get refused(): number {
    return this.#refused;
  }

  get size(): number {
    return this.#byName.size;
  }

  slotOf(name: string): number | undefined {
    return this.#byName.get(name)?.slot;
  }

  slotOfId(id: number): number | undefined {
    return this.#byId.get(id)?.slot;
  }

  /** The node that has an address. */
  slotAt(address: string): number | undefined {
    return this.#byAddress.get(address)?.slot;
  }

  node(slot: number): DirectoryNode | undefined {
    return this.#bySlot[slot]?.node;
  }

  idOf(slot: number): number {
    return this.#bySlot[slot]?.id ?? 0;
  }

  /** All nodes by name. */
  sorted(): readonly { readonly slot: number; readonly node: DirectoryNode }[] {
    this.#sorted ??= [...this.#byName.values()].sort((a, b) =>
      a.node.name < b.node.name ? -1 : a.node.name > b.node.name ? 1 : 0,
    );
    return this.#sorted;
  }

  /** The same as a matrix names them: the same array until the next update. */
  listed(): MatrixView['nodes'] {
    this.#listed ??= this.sorted().map(({ node: { name, zone } }) => ({ name, zone }));
    return this.#listed;
  }
}
