import type { Source } from '../../src/api/source.ts';
import { SourceError } from '../../src/api/source-error.ts';

/**
 * Labels of identities, in one call for all and one more for each that the list leaves out (a Cilium agent lists
 * reserved ones elsewhere). An agent that is away knows none: numbers are shown then.
 */
export async function identityLabels(
  source: Source,
  wanted: Iterable<number>,
): Promise<(identity: number) => readonly string[] | undefined> {
  const known = new Map<number, readonly string[]>();
  try {
    for (const { id, labels } of await source.identities()) known.set(id ?? 0, labels ?? []);
    const missing = [...new Set(wanted)].filter((id) => id !== 0 && !known.has(id));
    const found = await Promise.all(missing.map((id) => source.identity(id).catch(absent)));
    for (const identity of found) if (identity?.id != null) known.set(identity.id, identity.labels ?? []);
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
  }
  return (identity) => known.get(identity);
}

function absent(error: unknown): undefined {
  if (error instanceof SourceError) return undefined;
  throw error;
}
