import { icmp, type L4 } from './packets.ts';

/** bpf/lib/probe_structs.h */
export const PROBE_MAGIC = 0x43694c32;
const COOKIE_BYTES = 32;

export interface ProbeOfPath {
  readonly prober: number;
  readonly path: number;
  /** Another one: no probe of health. */
  readonly magic?: number;
  /** The answer instead of the request. */
  readonly isAnswer?: boolean;
}

/** An ICMP echo with the cookie of a probe of health, its sequence 5. */
export function probeEcho(
  family: 4 | 6,
  { prober, path, magic = PROBE_MAGIC, isAnswer = false }: ProbeOfPath,
): L4 {
  const cookie = Buffer.alloc(COOKIE_BYTES);
  cookie.writeUInt32BE(magic);
  cookie[4] = 1;
  cookie.writeUInt32BE(prober, 8);
  cookie.writeUInt32BE(path, 12);
  cookie.writeUInt32BE(5, 16);
  const [request, answer] = family === 4 ? [8, 0] : [128, 129];
  return icmp(family, isAnswer ? answer : request, 0, 9 << 16, cookie);
}
