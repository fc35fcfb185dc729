/** A request of memcached as rules see it. Keys hold a byte a character. */
export type MemcacheRequest =
  | { readonly kind: 'text'; readonly command: string; readonly keys: readonly string[] }
  /** The key is empty for commands that have none. */
  | { readonly kind: 'binary'; readonly opcode: number; readonly keys: readonly [string] };

export const MAX_PIPELINED = 1024;
export const DENIED_TEXT = 'access denied';
