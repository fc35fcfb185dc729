import type { Outcome } from './constants.ts';

/** What an ICMP error or a refused send said. */
export interface ProbeError {
  readonly errno: number;
  /** ICMP type and code; undefined when the kernel itself refused. */
  readonly type: number | undefined;
  readonly code: number | undefined;
  /** Who sent the error, in text form; undefined when the kernel itself refused. */
  readonly offender: string | undefined;
  /** Next-hop MTU in bytes of "too big"; 0 otherwise. */
  readonly mtu: number;
}

/**
 * Outcomes of one wake-up as parallel columns, so that a thousand of them cost one call and no objects. The batch is
 * used again: read it during the call, keep nothing of it.
 */
export class OutcomeBatch {
  count = 0;
  kind = new Uint8Array(256);
  path = new Uint32Array(256);
  sequence = new Uint32Array(256);
  /** From kernel stamp to kernel stamp, ns; NaN when unknown. */
  latencyNs = new Float64Array(256);
  /** Hop limit of a reply; index into `errors` of an ICMP error or a refused send. */
  detail = new Uint32Array(256);
  /** 1: both stamps are the kernel's. */
  stamped = new Uint8Array(256);
  readonly errors: ProbeError[] = [];

  push(
    kind: Outcome,
    path: number,
    sequence: number,
    latencyNs: number,
    detail: number,
    stamped = true,
  ): void {
    if (this.count === this.kind.length) this.#grow();
    const i = this.count++;
    this.kind[i] = kind;
    this.path[i] = path;
    this.sequence[i] = sequence;
    this.latencyNs[i] = latencyNs;
    this.detail[i] = detail;
    this.stamped[i] = stamped ? 1 : 0;
  }

  clear(): void {
    this.count = 0;
    this.errors.length = 0;
  }

  #grow(): void {
    const copy = <T extends Uint8Array | Uint32Array | Float64Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    const length = this.kind.length * 2;
    this.kind = copy(this.kind, new Uint8Array(length));
    this.path = copy(this.path, new Uint32Array(length));
    this.sequence = copy(this.sequence, new Uint32Array(length));
    this.latencyNs = copy(this.latencyNs, new Float64Array(length));
    this.detail = copy(this.detail, new Uint32Array(length));
    this.stamped = copy(this.stamped, new Uint8Array(length));
  }
}
