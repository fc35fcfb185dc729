import type { Cidr } from '../base/ip.ts';
import type { NumberedEntry } from './identity-numbers.ts';
import type { PrefixIdentity } from './prefix-changes.ts';

interface Named<Meaning> {
  readonly prefix: Cidr;
  readonly entry: NumberedEntry<Meaning>;
}

/** Which number each prefix has that the ipcache must name, and what changed of that; counts the users of numbers. */
export class NamedPrefixes<Meaning> {
  /** By the text of the prefix. */
  readonly #named = new Map<string, Named<Meaning>>();
  readonly #changed = new Map<string, Cidr>();

  /** Names a prefix by a number, or not any more. @param text of the prefix */
  set(text: string, prefix: Cidr, entry: NumberedEntry<Meaning> | undefined): void {
    const before = this.#named.get(text)?.entry;
    if (before === entry) return;
    this.#changed.set(text, prefix);
    if (before !== undefined) before.users--;
    if (entry === undefined) {
      this.#named.delete(text);
      return;
    }
    entry.users++;
    this.#named.set(text, { prefix, entry });
  }

  /** Names no prefix but those with these texts. */
  keepOnly(texts: ReadonlySet<string>): void {
    for (const [text, { prefix }] of this.#named) if (!texts.has(text)) this.set(text, prefix, undefined);
  }

  all(): readonly PrefixIdentity[] {
    return [...this.#named.values()].map(({ prefix, entry }) => ({ prefix, identity: entry.identity }));
  }

  /** What changed of `all()` since the last call. */
  takeChanges(): { readonly upserts: readonly PrefixIdentity[]; readonly deletes: readonly Cidr[] } {
    const upserts: PrefixIdentity[] = [];
    const deletes: Cidr[] = [];
    for (const [text, prefix] of this.#changed) {
      const named = this.#named.get(text);
      if (named === undefined) deletes.push(prefix);
      else upserts.push({ prefix, identity: named.entry.identity });
    }
    this.#changed.clear();
    return { upserts, deletes };
  }
}
