import { join } from 'node:path';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { NodePaths } from '../base/paths.ts';
import type { DnsPattern } from '../model/l7.ts';
import type { DnsObservation } from '../model/proxy-protocol.ts';
import { FqdnCache, type FqdnChange, type FqdnLookup, type FqdnOptions } from '../policy/fqdn.ts';
import { fqdnNameFilter } from '../policy/fqdn-view.ts';
import type { Controllers } from './controllers.ts';
import { StateFile } from './state-file.ts';

/** `endpoint address`, both as texts. */
export type ConnectionKey = string;

export interface FqdnManagerDeps {
  readonly controllers: Controllers;
  readonly log: Logger;
  readonly now: () => Date;
  /** Whether an address is of an endpoint, a node or a pod range. */
  readonly isInCluster: (address: string) => boolean;
  /** Tells which selectors addresses match now; settles when policy maps and ipcache follow. */
  readonly setAddresses: (changes: readonly FqdnChange[]) => Promise<void>;
  /** Which endpoint has connections to which addresses. */
  readonly connections: () => Promise<ReadonlySet<ConnectionKey>>;
  /** Lets the answer of an observation go on. */
  readonly dnsApplied: (id: number) => void;
  /** Whether this node has an endpoint of this number. */
  readonly hasEndpoint: (id: number) => boolean;
}

const SAVE_CONTROLLER = 'save-fqdn-cache';
const COLLECT_CONTROLLER = 'dns-garbage-collector-job';
const COLLECT_INTERVAL_MS = 60_000;
const SAVE_PAUSE_MS = 500;

/**
 * The names of `toFQDNs` on this node: what the DNS proxy saw becomes addresses with identities before the client gets
 * the answer, and they live as long as their TTL, or the connections to them.
 */
export class FqdnManager {
  readonly #deps: FqdnManagerDeps;
  readonly #cache: FqdnCache;
  readonly #file: StateFile<true>;
  readonly #save: { trigger(): Promise<void> };
  readonly #collect: { trigger(): Promise<void> };
  #saveTimer: NodeJS.Timeout | undefined;
  #dropped = 0;

  constructor(paths: NodePaths, options: Partial<FqdnOptions>, deps: FqdnManagerDeps) {
    this.#deps = deps;
    this.#cache = new FqdnCache({ isInCluster: deps.isInCluster }, options);
    const restore = (value: unknown): true => {
      this.#cache.restore(value);
      return true;
    };
    this.#file = new StateFile(join(paths.stateDir, 'fqdn-cache.json'), restore, deps);
    const { controllers } = deps;
    this.#save = controllers.add({ name: SAVE_CONTROLLER, run: async () => this.#write() });
    this.#collect = controllers.add({
      name: COLLECT_CONTROLLER,
      intervalMs: COLLECT_INTERVAL_MS,
      run: () => this.collect(),
    });
  }

  /** Pairs of name and address that garbage collection took. */
  get dropped(): number {
    return this.#dropped;
  }

  /** What was wrong with the saved cache. */
  get damage(): string | undefined {
    return this.#file.damage;
  }

  /** Takes the cache of the last run; addresses have their selectors once `setSelectors` was called. */
  load(): void {
    this.#file.read();
  }

  /** Begins to forget what is over. */
  start(): void {
    void this.#collect.trigger();
  }

  async stop(): Promise<void> {
    if (this.#saveTimer === undefined) return;
    clearTimeout(this.#saveTimer);
    this.#saveTimer = undefined;
    await this.#save.trigger().catch(() => undefined);
  }

  /** The names and patterns that rules in force use. @returns what that changed, for the caller to put in force */
  setSelectors(patterns: Iterable<DnsPattern>): readonly FqdnChange[] {
    return this.#cache.setSelectors(patterns);
  }

  /** An answer that is held back until its addresses are in force. */
  async observe(id: number, observation: DnsObservation): Promise<void> {
    try {
      if (!this.#deps.hasEndpoint(observation.endpoint)) return;
      const changes = this.#cache.observe(observation, this.#deps.now().getTime());
      this.#saveSoon();
      await this.#follow(changes);
    } catch (error) {
      this.#deps.log.warn(
        { error: errorText(error), names: observation.names },
        'addresses of a name are not in force',
      );
    } finally {
      this.#deps.dnsApplied(id);
    }
  }

  /** Forgets names, for running connections too. @throws DnsPatternError */
  async clean(matchPattern: string | undefined): Promise<void> {
    const matches = matchPattern === undefined ? undefined : fqdnNameFilter(matchPattern);
    const { changes } = this.#cache.clean(matches);
    this.#write();
    await this.#follow(changes);
  }

  lookups(): Iterable<FqdnLookup> {
    return this.#cache.lookups();
  }

  /** The endpoint is gone. */
  async removeEndpoint(id: number): Promise<void> {
    this.#saveSoon();
    await this.#follow(this.#cache.removeEndpoint(id));
  }

  /** Only these endpoints are left after a restart. @returns what that changed */
  retainEndpoints(ids: ReadonlySet<number>): readonly FqdnChange[] {
    return this.#cache.retainEndpoints(ids);
  }

  /** Endpoints or nodes came or went: addresses may be inside the cluster now, or no longer. */
  async recheck(): Promise<void> {
    await this.#follow(this.#cache.recheck());
  }

  /** Drops what is past its time and has no connection. @param now realtime in milliseconds */
  async collect(now = this.#deps.now().getTime()): Promise<void> {
    if (!this.#cache.hasExpired(now)) return;
    const connected = await this.#deps.connections();
    const { changes, dropped } = this.#cache.collect(now, (endpoint, address) =>
      connected.has(`${endpoint} ${address}`),
    );
    this.#dropped += dropped;
    this.#saveSoon();
    await this.#follow(changes);
  }

  async #follow(changes: readonly FqdnChange[]): Promise<void> {
    if (changes.length > 0) await this.#deps.setAddresses(changes);
  }

  #write(): void {
    this.#file.write(this.#cache.toJSON());
  }

  /** Answers come by the thousand: they are not written one by one. */
  #saveSoon(): void {
    this.#saveTimer ??= setTimeout(() => {
      this.#saveTimer = undefined;
      void this.#save.trigger();
    }, SAVE_PAUSE_MS).unref();
  }
}
