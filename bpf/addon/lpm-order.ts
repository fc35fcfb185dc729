/**
 * The order in which the kernel walks an LPM trie (kernel/bpf/lpm_trie.c, trie_get_next_key): longer prefixes before
 * the shorter ones that contain them, and otherwise by the first bit that differs. A key is `u32 prefix length` in
 * the machine's order, then the prefix. Needed because the kernel starts over when the key it stood on has
 * vanished: with an order, what was already seen is known without remembering it.
 *
 * @returns < 0 when `a` comes before `b`, 0 when they are the same prefix
 */
export function compareLpmKeys(a: Buffer, b: Buffer): number {
  const lengthA = a.readUInt32LE(0);
  const lengthB = b.readUInt32LE(0);
  const shared = Math.min(lengthA, lengthB);
  for (let bit = 0; bit < shared; bit += 8) {
    const at = 4 + bit / 8;
    const mask = (0xff00 >> Math.min(8, shared - bit)) & 0xff;
    const difference = ((a[at] ?? 0) & mask) - ((b[at] ?? 0) & mask);
    if (difference !== 0) return difference;
  }
  if (lengthA === lengthB) return 0;
  // One contains the other. The walk takes the left half, then the right half, then the prefix itself.
  return lengthB - lengthA;
}
