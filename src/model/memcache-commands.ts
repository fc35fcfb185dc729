/** What a command of a rule means in both protocols of memcached (`doc/protocol.txt`, "BinaryProtocolRevamped"). */
export interface MemcacheCommand {
  /** Commands of the text protocol. */
  readonly text: readonly string[];
  /** Opcodes of the binary protocol, quiet forms included. */
  readonly binary: readonly number[];
}

const STORAGE: MemcacheCommand = {
  text: ['add', 'set', 'replace', 'append', 'prepend', 'cas', 'incr', 'decr'],
  binary: [1, 2, 3, 5, 6, 17, 18, 19, 21, 22, 25, 26],
};

/** Commands of the binary protocol alone, by the opcode that each stands for. */
const BINARY_ONLY: Readonly<Record<string, number>> = {
  noop: 10,
  verbosity: 27,
  'sasl-list-mechs': 32,
  'sasl-auth': 33,
  'sasl-step': 34,
  rget: 48,
  rset: 49,
  rsetq: 50,
  rappend: 51,
  rappendq: 52,
  rprepend: 53,
  rprependq: 54,
  rdelete: 55,
  rdeleteq: 56,
  rincr: 57,
  rincrq: 58,
  rdecr: 59,
  rdecrq: 60,
  'set-vbucket': 61,
  'get-vbucket': 62,
  'del-vbucket': 63,
  'tap-connect': 64,
  'tap-mutation': 65,
  'tap-delete': 66,
  'tap-flush': 67,
  'tap-opaque': 68,
  'tap-vbucket-set': 69,
  'tap-checkpoint-start': 70,
  'tap-checkpoint-end': 71,
};

const TEXT_ONLY = ['cas', 'slabs', 'lru', 'lru_crawler', 'watch', 'cache_memlimit', 'misbehave'] as const;

/** Names that `command` of a rule may have, as Cilium groups them. */
export const MEMCACHE_COMMANDS: ReadonlyMap<string, MemcacheCommand> = new Map<string, MemcacheCommand>([
  ['add', { text: ['add'], binary: [2, 18] }],
  ['set', { text: ['set'], binary: [1, 17] }],
  ['replace', { text: ['replace'], binary: [3, 19] }],
  ['append', { text: ['append'], binary: [14, 25] }],
  ['prepend', { text: ['prepend'], binary: [15, 26] }],
  ['incr', { text: ['incr'], binary: [5, 21] }],
  ['decr', { text: ['decr'], binary: [6, 22] }],
  ['storage', STORAGE],
  ['get', { text: ['get', 'gets'], binary: [0, 9, 12, 13] }],
  ['delete', { text: ['delete'], binary: [4, 20] }],
  ['touch', { text: ['touch'], binary: [28] }],
  ['gat', { text: ['gat', 'gats'], binary: [29, 30] }],
  [
    'writeGroup',
    {
      text: [...STORAGE.text, 'delete', 'touch'],
      binary: [...STORAGE.binary, 4, 20, 28].sort((a, b) => a - b),
    },
  ],
  ['stats', { text: ['stats'], binary: [16] }],
  ['flush_all', { text: ['flush_all'], binary: [8, 24] }],
  ['version', { text: ['version'], binary: [11] }],
  ['quit', { text: ['quit'], binary: [7, 23] }],
  ...TEXT_ONLY.map((name) => [name, { text: [name], binary: [] }] as const),
  ...Object.entries(BINARY_ONLY).map(([name, opcode]) => [name, { text: [], binary: [opcode] }] as const),
]);
