import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { NumericIdentity } from '../model/identity.ts';

/** What a change of policy still has to do once policies are worked out. */
export interface OrderedChange {
  /** Endpoints whose policy maps it changes. */
  readonly endpoints: readonly number[];
  /** Identities that are known from it on. */
  readonly identities?: readonly NumericIdentity[];
  /** No identity is named for the first time before it, whenever it became known. */
  readonly barrier?: boolean;
  /** To be done when every one of the endpoints is written or closed: the ipcache. What rejects is tried again. */
  readonly finish: () => Promise<void>;
}

export interface PolicyOrderDeps {
  readonly log: Logger;
  /** Closes an endpoint: nothing passes it until a policy is written whose write begins after this call. */
  readonly close: (endpoint: number) => Promise<void>;
}

export interface PolicyOrderOptions {
  /** How long a change waits for an endpoint before it closes it. Default 10 s. */
  readonly waitMs?: number;
  /** First pause after a failed step; doubles up to 30 s. Default 100 ms. */
  readonly retryBaseMs?: number;
}

const WAIT_MS = 10_000;
const RETRY_BASE_MS = 100;
const LONGEST_RETRY_MS = 30_000;

interface Waiter {
  readonly sequence: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** What is known of an endpoint's map, by numbers of changes. */
interface Progress {
  /** The last change that the map holds. */
  written: number;
  /** The last change that it was to hold when writing it failed. */
  failed: number;
  /** The change that closed it; 0 when it is not closed. What does not hold that change must not open it. */
  closed: number;
}

/**
 * The order of changes, for everything that tells the datapath who somebody is (ADR 0009):
 * 1. a change is worked out and gets its number;
 * 2. the policy maps that it touches are written, each with what is worked out by then; an endpoint that failed, or is
 *    late, is closed instead, until it is written;
 * 3. identities that it made known may be named: in the ipcache, and as the identity of an endpoint;
 * 4. its last step, the ipcache.
 * Steps 3 and 4 of one change never come before those of an earlier one.
 */
export class PolicyOrder {
  readonly #deps: PolicyOrderDeps;
  readonly #waitMs: number;
  readonly #retryBaseMs: number;
  #sequence = 0;
  /** The last change whose maps are written, and the last that is done. */
  #reached = 0;
  #done = 0;
  #floor = 0;
  #chain: Promise<void> = Promise.resolve();
  readonly #endpoints = new Map<number, Progress>();
  /** Identity -> the change with which it became known. */
  readonly #known = new Map<NumericIdentity, number>();
  #waiters: Waiter[] = [];
  /** Called when an endpoint got somewhere. */
  readonly #progress = new Set<(endpoint?: number) => void>();
  #stopped = false;

  constructor(deps: PolicyOrderDeps, options: PolicyOrderOptions = {}) {
    this.#deps = deps;
    this.#waitMs = options.waitMs ?? WAIT_MS;
    this.#retryBaseMs = options.retryBaseMs ?? RETRY_BASE_MS;
  }

  /** Number of the last change that was worked out; what is resolved now holds it. */
  get sequence(): number {
    return this.#sequence;
  }

  /** A change is worked out. Settles when it is in force; never rejects. */
  begin(change: OrderedChange): Promise<void> {
    const sequence = ++this.#sequence;
    this.know(change.identities ?? []);
    if (change.barrier === true) this.#floor = sequence;
    const endpoints = new Map(change.endpoints.map((id) => [id, this.#of(id)]));
    this.#chain = this.#chain.then(() => this.#finish(sequence, endpoints, change.finish));
    return this.#chain;
  }

  /** Identities that no policy picks: they may be named when all that is under way is in force. */
  know(identities: readonly NumericIdentity[]): void {
    for (const id of identities) if (!this.#known.has(id)) this.#known.set(id, this.#sequence);
  }

  /** No policy map knows these any more. */
  unknow(identities: readonly NumericIdentity[]): void {
    for (const id of identities) this.#known.delete(id);
  }

  /** Whether every endpoint's map that picks the identity has it, or that endpoint is closed. */
  mayName(identity: NumericIdentity): boolean {
    const since = this.#known.get(identity);
    return since !== undefined && this.#reached >= Math.max(since, this.#floor);
  }

  /** Whether what holds every change up to this one may open the endpoint. */
  mayOpen(endpoint: number, sequence: number): boolean {
    return sequence >= this.#of(endpoint).closed;
  }

  /** The map of an endpoint holds every change up to this one, or lets nothing pass. */
  written(endpoint: number, sequence: number): void {
    const progress = this.#of(endpoint);
    if (sequence < progress.closed) return;
    progress.closed = 0;
    progress.written = Math.max(progress.written, sequence);
    this.#wake(endpoint);
  }

  /** The map of an endpoint was to hold every change up to this one, and does not. */
  failed(endpoint: number, sequence: number): void {
    const progress = this.#of(endpoint);
    progress.failed = Math.max(progress.failed, sequence);
    this.#wake(endpoint);
  }

  /** The endpoint is gone: nobody waits for it. */
  forget(endpoint: number): void {
    this.#of(endpoint).written = Number.POSITIVE_INFINITY;
    this.#wake(endpoint);
    this.#endpoints.delete(endpoint);
  }

  /** Settles when every change up to this one is in force. @rejects with what its last step failed for; that goes on */
  settled(sequence: number): Promise<void> {
    if (sequence <= this.#done || this.#stopped) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiters.push({ sequence, resolve, reject }));
  }

  /** No further step is done; whoever waits goes on. */
  stop(): void {
    this.#stopped = true;
    this.#wake();
    for (const { resolve } of this.#waiters.splice(0)) resolve();
  }

  #of(endpoint: number): Progress {
    const known = this.#endpoints.get(endpoint);
    if (known !== undefined) return known;
    const fresh = { written: 0, failed: 0, closed: 0 };
    this.#endpoints.set(endpoint, fresh);
    return fresh;
  }

  #wake(endpoint?: number): void {
    for (const wake of this.#progress) wake(endpoint);
  }

  async #finish(
    sequence: number,
    endpoints: ReadonlyMap<number, Progress>,
    finish: () => Promise<void>,
  ): Promise<void> {
    const unwritten = await this.#written(sequence, endpoints);
    await Promise.all([...unwritten].map(([id, progress]) => this.#close(id, progress, sequence)));
    if (!this.#stopped) this.#reached = sequence;
    await this.#insist('a change of policy could not be finished yet', finish, (error) =>
      this.#tell(sequence, ({ reject }) => reject(error)),
    );
    this.#done = sequence;
    this.#tell(sequence, ({ resolve }) => resolve());
  }

  /** Tries until it succeeds. */
  async #insist(
    what: string,
    run: () => Promise<void>,
    onFailure: (error: unknown) => void = () => undefined,
  ): Promise<void> {
    for (let failures = 0; !this.#stopped; failures++) {
      try {
        return await run();
      } catch (error) {
        this.#deps.log.warn({ error: errorText(error) }, what);
        onFailure(error);
        const pauseMs = Math.min(this.#retryBaseMs * 2 ** failures, LONGEST_RETRY_MS);
        await new Promise((resolve) => setTimeout(resolve, pauseMs).unref());
      }
    }
  }

  #tell(sequence: number, tell: (waiter: Waiter) => void): void {
    const told = this.#waiters.filter((waiter) => waiter.sequence <= sequence);
    this.#waiters = this.#waiters.filter((waiter) => waiter.sequence > sequence);
    for (const waiter of told) tell(waiter);
  }

  /** Waits until each endpoint is written, or nothing can be hoped for of it. @returns those that are not written */
  #written(sequence: number, endpoints: ReadonlyMap<number, Progress>): Promise<Map<number, Progress>> {
    const unwritten = new Map(endpoints);
    const hoped = new Set(endpoints.keys());
    const look = (id: number): void => {
      const progress = unwritten.get(id);
      if (progress === undefined) return;
      const { written, failed, closed } = progress;
      if (written >= sequence) unwritten.delete(id);
      if (written >= sequence || failed >= sequence || closed > 0) hoped.delete(id);
    };
    for (const id of endpoints.keys()) look(id);
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#progress.delete(wake);
        resolve(unwritten);
      };
      const wake = (id?: number): void => {
        if (id !== undefined) look(id);
        if (hoped.size === 0 || this.#stopped) end();
      };
      const timer = setTimeout(end, this.#waitMs).unref();
      this.#progress.add(wake);
      wake();
    });
  }

  /** Closes an endpoint until its map holds the change, also if it is closed: a write for an earlier change may be under way. */
  async #close(endpoint: number, progress: Progress, sequence: number): Promise<void> {
    await this.#insist(`endpoint ${endpoint} could not be closed yet: identities wait`, async () => {
      if (progress.written >= sequence) return;
      progress.closed = Math.max(progress.closed, sequence);
      await this.#deps.close(endpoint);
    });
  }
}
