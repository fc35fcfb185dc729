/** Paths a second that become suspect so: where many are late at once, more requests would make it worse. */
const A_SECOND = 5;

/**
 * Which paths with a late request may be asked more in this second. Those from host to host have an allowance of their own: a
 * peer that hangs has many others, and these tell what it is.
 */
export class LateAllowance {
  #secondMs = Number.NEGATIVE_INFINITY;
  #left = { hosts: 0, others: 0 };

  /** @param nowMs monotonic. @returns whether it may, which is counted */
  takes(pathClass: string | undefined, nowMs: number): boolean {
    if (nowMs - this.#secondMs >= 1000) {
      this.#secondMs = nowMs;
      this.#left = { hosts: A_SECOND, others: A_SECOND };
    }
    const whose = pathClass === 'host-host' ? 'hosts' : 'others';
    return this.#left[whose]-- > 0;
  }
}
