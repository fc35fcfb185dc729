import { type Cidr, formatCidr } from '../base/ip.ts';
import {
  isLocalIdentity,
  isNodeIdentity,
  LOCAL_IDENTITY_SCOPE,
  NODE_IDENTITY_SCOPE,
  type NumericIdentity,
} from '../model/identity.ts';
import { checkLocalIdentities, type LocalIdentitiesJson, type PrefixChanges } from '../policy/index.ts';
import type { Ipcache } from './ipcache.ts';
import { StateFile, type StateFileDeps } from './state-file.ts';

export interface PrefixWriterDeps extends StateFileDeps {
  readonly ipcache: Pick<
    Ipcache,
    | 'setPrefix'
    | 'removePrefix'
    | 'setNodeIdentity'
    | 'removeNodeIdentity'
    | 'writtenIdentities'
    | 'identities'
    | 'waits'
  >;
  /** Whether a prefix lies in a range of endpoints, this node's or another's. */
  readonly isPodRange: (prefix: Cidr) => boolean;
  /** Writes the ipcache's difference to the datapath. */
  readonly syncIpcache: () => Promise<void>;
}

/** Whether the ipcache has nothing to do for it. */
export function isEmptyChange({ upserts, deletes, nodes }: PrefixChanges): boolean {
  const ofNodes = nodes === undefined ? 0 : nodes.upserts.length + nodes.deletes.length;
  return upserts.length + deletes.length + ofNodes === 0;
}

/** The number behind all of them. */
function after(known: readonly NumericIdentity[], first: NumericIdentity): NumericIdentity {
  return known.reduce((most, id) => Math.max(most, id + 1), first);
}

/**
 * The identities of prefixes and names on their way into the ipcache: their numbers are on disk before they are in there,
 * so that after a restart none of them means something else than the pinned maps say.
 */
export class PrefixWriter {
  readonly #file: StateFile<LocalIdentitiesJson>;
  readonly #deps: PrefixWriterDeps;
  #kept = '';

  /** @param path of the file with the numbers */
  constructor(path: string, deps: PrefixWriterDeps) {
    this.#file = new StateFile(path, checkLocalIdentities, deps);
    this.#deps = deps;
  }

  /** What was wrong with the file. */
  get damage(): string | undefined {
    return this.#file.damage;
  }

  /** The numbers of the last run; where they are lost, one to begin with that the datapath does not know. */
  load(): LocalIdentitiesJson {
    const saved = this.#file.read();
    if (saved !== undefined) {
      this.#kept = JSON.stringify(saved);
      return saved;
    }
    const known = [...this.#deps.ipcache.writtenIdentities()];
    const next = after(known.filter(isLocalIdentity), LOCAL_IDENTITY_SCOPE);
    const nextNode = after(known.filter(isNodeIdentity), NODE_IDENTITY_SCOPE);
    return {
      version: 1,
      next: isLocalIdentity(next) ? next : LOCAL_IDENTITY_SCOPE,
      identities: [],
      nodes: { next: isNodeIdentity(nextNode) ? nextNode : NODE_IDENTITY_SCOPE, identities: [] },
    };
  }

  /** @throws SystemError STATE_UNWRITABLE */
  keep(numbers: LocalIdentitiesJson): void {
    const text = JSON.stringify(numbers);
    if (text === this.#kept) return;
    this.#file.write(numbers);
    this.#kept = text;
  }

  /** Brings the ipcache to what changed, in order, and to what waited for it; settles when the datapath has it. */
  async write(changes: readonly PrefixChanges[]): Promise<void> {
    const { ipcache, isPodRange, syncIpcache } = this.#deps;
    for (const { upserts, deletes, nodes } of changes) {
      for (const { prefix, identity } of upserts)
        if (!isPodRange(prefix)) ipcache.setPrefix(formatCidr(prefix), identity.id);
      for (const prefix of deletes) ipcache.removePrefix(formatCidr(prefix));
      for (const { prefix, identity } of nodes?.upserts ?? [])
        ipcache.setNodeIdentity(formatCidr(prefix), identity.id);
      for (const prefix of nodes?.deletes ?? []) ipcache.removeNodeIdentity(formatCidr(prefix));
    }
    const any = changes.some((change) => !isEmptyChange(change));
    if (any || ipcache.waits) await syncIpcache();
  }

  /** The identities that the ipcache names, or is to name. */
  named(): ReadonlySet<NumericIdentity> {
    return this.#deps.ipcache.identities();
  }

  /** Those of the identities that the datapath's ipcache names no more. */
  unnamed(ids: readonly NumericIdentity[]): readonly NumericIdentity[] {
    if (ids.length === 0) return ids;
    const written = this.#deps.ipcache.writtenIdentities();
    return ids.filter((id) => !written.has(id));
  }
}
