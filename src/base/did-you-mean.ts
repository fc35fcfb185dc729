/** Edits (insert, delete, replace, swap of neighbours) that turn one word into the other. */
function distance(a: string, b: string): number {
  let [beforeLast, last]: [number[], number[]] = [[], Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (last[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let least = Math.min(replaced, (last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, (beforeLast[j - 2] ?? 0) + 1);
      }
      row.push(least);
    }
    [beforeLast, last] = [last, row];
  }
  return last[b.length] ?? 0;
}

/** Longer words are no slips of the hand; compared with thousands of names they take seconds, from whoever may ask. */
const WORD_MAX = 64;

/**
 * The name that was probably meant: at most a third of the word (and two letters at least) apart; else undefined. Names whose
 * length alone is further away cost nothing.
 */
export function closestName(wrong: string, names: readonly string[]): string | undefined {
  if (wrong.length > WORD_MAX) return undefined;
  const most = Math.max(2, Math.floor(wrong.length / 3));
  const [best] = names
    .filter((name) => Math.abs(name.length - wrong.length) <= most)
    .map((name) => ({ name, edits: distance(wrong, name) }))
    .filter(({ edits }) => edits <= most)
    .sort((a, b) => a.edits - b.edits);
  return best?.name;
}
