/** What expressions may take of one thread: this much at once, and then this part of the time. */
const MOST_NS = 200e6;
const SHARE = 0.1;
/** What each request may take however much others took. */
const EACH_NS = 5e6;
/** Less than that is what everybody takes, and not counted. */
const FREE_NS = 1e6;
/** How many characters are read between two looks at the clock. */
const LOOK_EVERY = 32;

const cpuMicroseconds = ({ user, system }: NodeJS.CpuUsage): number => user + system;

/** Thrown inside of an expression's reading of a value: its time is up. */
class TimeIsUp extends Error {}

/**
 * A text that ends its reader when the time is up. The engine reads strings by `charCodeAt`, each character once for
 * each step, and cannot be ended otherwise.
 */
class TimedText extends String {
  readonly #text: string;
  readonly #isOver: () => boolean;
  #reads = 0;

  constructor(text: string, isOver: () => boolean) {
    super(text);
    this.#text = text;
    this.#isOver = isOver;
  }

  override charCodeAt(at: number): number {
    if (++this.#reads % LOOK_EVERY === 0 && this.#isOver()) throw new TimeIsUp();
    return this.#text.charCodeAt(at);
  }
}

/**
 * The time that regular expressions may take. It is linear in a value's length, but a rule that is written to be slow
 * takes milliseconds for each character, and everybody on the node waits for it: whoever writes one shall slow down no
 * others. Each request has time of its own, and what takes longer shares the rest.
 */
export class MatchBudget {
  readonly #nowNs: () => number;
  readonly #cpuNs: () => number;
  #leftNs = MOST_NS;
  #seenNs: number;
  #beganNs = 0;
  #allowedNs = 0;
  #deadlineNs = Number.POSITIVE_INFINITY;
  /** CPU time when the deadline was set anew; undefined: it is the first. */
  #cpuAtNs: number | undefined;
  #judging = false;
  #over = false;

  /**
   * @param nowNs monotonic clock, nanoseconds
   * @param cpuNs CPU time of the process, nanoseconds
   */
  constructor(
    nowNs: () => number = () => performance.now() * 1e6,
    cpuNs: () => number = () => cpuMicroseconds(process.cpuUsage()) * 1000,
  ) {
    this.#nowNs = nowNs;
    this.#cpuNs = cpuNs;
    this.#seenNs = nowNs();
  }

  /** Whether what was judged last was ended: then its answer is of no use to anybody else. */
  get isOver(): boolean {
    return this.#over;
  }

  /** Judges a request: what its expressions take together counts. The clock is looked at only if there are any. */
  judge<T>(run: () => T): T {
    this.#judging = true;
    this.#over = false;
    try {
      return run();
    } finally {
      this.#judging = false;
      if (this.#deadlineNs !== Number.POSITIVE_INFINITY) this.#end();
    }
  }

  /** What `match` says of the text; undefined when the time is up. */
  match<T>(text: string, match: (text: string) => T): T | undefined {
    if (this.#over) return undefined;
    if (this.#judging && this.#deadlineNs === Number.POSITIVE_INFINITY) this.#begin();
    try {
      // The engine takes objects for strings; its types do not say so.
      return match(new TimedText(text, this.#isUp) as unknown as string);
    } catch (error) {
      if (!(error instanceof TimeIsUp)) throw error;
      return undefined;
    }
  }

  #begin(): void {
    const now = this.#nowNs();
    this.#leftNs = Math.min(MOST_NS, this.#leftNs + (now - this.#seenNs) * SHARE);
    this.#beganNs = now;
    this.#allowedNs = Math.max(EACH_NS, this.#leftNs);
    this.#deadlineNs = now + this.#allowedNs;
    this.#cpuAtNs = undefined;
  }

  #end(): void {
    this.#seenNs = this.#nowNs();
    const spent = this.#seenNs - this.#beganNs;
    if (spent > FREE_NS) this.#leftNs = Math.max(0, this.#leftNs - spent);
    this.#deadlineNs = Number.POSITIVE_INFINITY;
  }

  /** A deadline that passed while others had the CPU is set anew, which is seen by the second one that passes. */
  readonly #isUp = (): boolean => {
    const now = this.#nowNs();
    if (this.#over || now <= this.#deadlineNs) return this.#over;
    const cpu = this.#cpuNs();
    if (this.#cpuAtNs !== undefined && cpu - this.#cpuAtNs > this.#allowedNs / 2) this.#over = true;
    this.#cpuAtNs = cpu;
    this.#deadlineNs = now + this.#allowedNs;
    return this.#over;
  };
}
