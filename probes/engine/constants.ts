/** Layouts and indices of engine.h and probe_structs.h; test/probes/engine-layout.test.ts compares them. */

export const Mode = { bpf: 0, raw: 1, datagram: 2 } as const;
export const Responder = { icmp: 0, echo: 1 } as const;

/** enum engine_option: index of each integer of `create`. */
export const Option = {
  prober: 0,
  icmpId: 1,
  pathsMax: 2,
  timeoutMs: 3,
  turnMs: 4,
  packetsPerSecond: 5,
  burst: 6,
  burstSpacingMs: 7,
  softTimeoutMs: 8,
  flows: 9,
  dscp: 10,
  receiveBuffer: 11,
  batchesFd: 12,
  firstSequence: 13,
  cpuPercent: 14,
  count: 15,
} as const;

export const CommandKind = { open: 1, close: 2, pace: 3, burst: 4 } as const;

/** struct engine_command, in 32-bit words; `address` is 16 bytes. */
export const Command = {
  words: 16,
  kind: 0,
  path: 1,
  generation: 2,
  responder: 3,
  origin: 4,
  family: 5,
  rotate: 6,
  packetBytes: 7,
  periodUs: 8,
  count: 9,
  spacingUs: 10,
  phaseUs: 11,
  address: 12,
} as const;

export const EventCode = { suspect: 1, silent: 2, answer: 3, error: 4 } as const;

/** struct engine_event: `at_ns` is the first 64-bit word, the rest 32-bit words; `offender` is 16 bytes. */
export const Event = {
  words: 12,
  atNs: 0,
  kind: 2,
  path: 3,
  generation: 4,
  error: 5,
  mtu: 6,
  offenderFamily: 7,
  offender: 8,
} as const;

/** struct probe_account, in 32-bit words; all but the last two are 64 bits wide. */
export const Account = {
  words: 14,
  sent: 0,
  lost: 2,
  late: 4,
  duplicate: 6,
  failed: 8,
  sentLastNs: 10,
  lostInARow: 12,
  generation: 13,
} as const;

/** struct probe_path, in 32-bit words; from `answered` on, 64 bits wide up to `sequenceLast`. */
export const PathRecord = {
  words: 220,
  /** Entries of `sent_ns`. */
  ring: 16,
  sentNs: 32,
  answered: 86,
  echoed: 88,
  unstamped: 90,
  reordered: 92,
  late: 94,
  rttSumNs: 96,
  rttMaxNs: 98,
  rttLastNs: 100,
  answeredLastNs: 102,
  residenceSumNs: 104,
  sequenceLast: 106,
  hopLimitLast: 107,
  histogram: 108,
} as const;

/** PROBE_BLOCK: of records that programs write, so many are made at once. */
export const RECORDS_A_BLOCK = 1024;

/** PROBE_MARK: SO_MARK of sockets whose packets the programs look at when they leave. */
export const PROBE_MARK = 0xb00;

/** enum engine_counter. */
export const Self = {
  sent: 0,
  ownDrops: 1,
  foreign: 2,
  corrupt: 3,
  deferred: 4,
  lagMaxNs: 5,
  clockSteps: 6,
  cpuNs: 7,
  eventsLost: 8,
  turns: 9,
  nowNs: 10,
  shortCuts: 11,
  count: 12,
} as const;

export const KEY_BYTES = 16;
export const ORIGINS_MAX = 16;
export const FLOWS_MAX = 64;
/** A burst and the probe before it must fit the ring of probes under way (PROBE_RING). */
export const BURST_MAX = 14;
export const PACKET_BYTES_MAX = 9000;

/** 5,000 nodes with health endpoints and both families have 50,000. */
export const DEFAULT_PATHS_MAX = 65_536;
export const DEFAULT_TIMEOUT_MS = 1000;
export const DEFAULT_TURN_MS = 20;
export const DEFAULT_PACKETS_PER_SECOND = 20_000;
/** Of one core: a thread cannot use more. */
export const DEFAULT_CPU_PERCENT = 100;
export const DEFAULT_BURST = 5;
export const DEFAULT_BURST_SPACING_MS = 10;
export const DEFAULT_SOFT_TIMEOUT_MS = 50;
export const DEFAULT_FLOWS = 16;
export const DEFAULT_ECHOES_PER_SECOND = 2000;
export const DEFAULT_TCP_PORT = 4240;
/** The system's default holds about 258 small packets; this holds some 10,000 (a small packet costs ~825 bytes). */
export const DEFAULT_RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024;
