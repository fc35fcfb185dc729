/** Layouts and indices of icmp.h; test/probes/icmp-layout.test.ts compares them with the addon. */

/** Index of each integer of `open`'s parameters. */
export const Param = {
  family: 0,
  kind: 1,
  netnsFd: 2,
  scopeId: 3,
  trafficClass: 4,
  dontFragment: 5,
  hopLimit: 6,
  receiveBuffer: 7,
  id: 8,
  payloadBytes: 9,
  count: 10,
} as const;

export const Kind = { raw: 0, datagram: 1 } as const;

/** struct icmp_send_record, in 32-bit words. */
export const SendRecord = { words: 8, bytes: 32, path: 4, sequence: 5, scopeId: 6 } as const;

/** struct icmp_reply_record: `received_ns` is the first double, the rest are 32-bit words. */
export const ReplyRecord = {
  words: 8,
  bytes: 32,
  path: 2,
  sequence: 3,
  class: 4,
  hopLimit: 5,
  length: 6,
  flags: 7,
} as const;

export const ReplyClass = { genuine: 0, foreign: 1, corrupt: 2 } as const;
export const RecordFlag = { clockStepped: 1, noStamp: 2 } as const;

/** struct icmp_notice_record: `stamp_ns` is the first double, the rest are 32-bit words; offender and target are 16 bytes. */
export const NoticeRecord = {
  words: 20,
  bytes: 80,
  kind: 2,
  stampId: 3,
  path: 4,
  sequence: 5,
  error: 6,
  origin: 7,
  type: 8,
  code: 9,
  mtu: 10,
  flags: 11,
  offenderByte: 48,
  /** Word; the target's 16 bytes are as those of `SendRecord`. */
  target: 16,
} as const;

export const NoticeKind = { sent: 1, error: 2, shortError: 3, foreign: 4 } as const;

/** SO_EE_ORIGIN_* (uapi/linux/errqueue.h). */
export const ErrorOrigin = { local: 1, icmp: 2, icmp6: 3 } as const;

export const Counter = {
  receiveOverflow: 0,
  clockSteps: 1,
  receiveBuffer: 2,
  id: 3,
  stamps: 4,
  count: 5,
} as const;

/** Messages a system call. */
export const BATCH_MAX = 64;
/** Least payload: what identifies a probe. */
export const COOKIE_BYTES = 24;
export const KEY_BYTES = 16;
export const PAYLOAD_BYTES_MAX = 65_507;
/** As of `ping`. */
export const DEFAULT_PAYLOAD_BYTES = 56;
/** The system's default holds about 258 small packets; this holds some 10,000 (a small packet costs ~825 bytes). */
export const DEFAULT_RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024;
/** Probes under way per socket; a power of two. */
export const DEFAULT_OUTSTANDING = 16_384;

/** Outcomes as they stand in an `OutcomeBatch`. */
export const Outcome = { reply: 0, timeout: 1, icmpError: 2, sendFailed: 3, late: 4, duplicate: 5 } as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];
