import type { NumericIdentity } from '../model/identity.ts';
import type { L7Filter, L7Policy, L7SubjectPolicy } from '../model/l7.ts';
import type { Direction } from '../model/map-state.ts';
import type { ProxyEndpoint } from '../model/proxy-protocol.ts';
import { namedPortsText } from '../policy/index.ts';
import type { Endpoint } from './endpoint.ts';
import { addressesOf } from './endpoint-addresses.ts';
import type { ProxyPart } from './proxy-part.ts';
import { ALL_REDIRECTS } from './redirects.ts';

export interface L7SyncDeps {
  readonly proxy: ProxyPart;
  /** What the rules ask of the proxy, for the subjects that have endpoints here. */
  readonly policy: () => L7Policy;
  readonly endpoints: () => readonly Endpoint[];
  /** Whether the rules are not known, or not yet whose they are: the proxy keeps what it has then. */
  readonly isUnknown: () => boolean;
}

/** How long the proxy may take to acknowledge a policy: while it answers, while it starts, and when it is down. */
const WAIT_MS = { Ok: 2_000, Warning: 5_000, Failure: 100, Off: 0 } as const;
/** For one that was late before. */
const LATE_WAIT_MS = 100;
const SOON_MS = 20;

type Filters = readonly L7Filter[] | undefined;

/**
 * Keeps the proxy's policy ahead of the policy maps: 1. the proxy has acknowledged a policy before a map sends it flows
 * that are to be judged by it; 2. what the proxy knows of a subject stays until no map sends it flows of that subject,
 * since it judges nothing of subjects that it does not know.
 */
export class L7Sync {
  readonly #deps: L7SyncDeps;
  #dirty = true;
  #acknowledged: Promise<boolean> = Promise.resolve(true);
  #sent: L7Policy = { revision: 0, subjects: [] };
  #late = false;
  /** The endpoints that the proxy was told of last, as text. */
  #told = '';
  /** The subjects of `#sent` as the rules asked for them. */
  #wanted: ReadonlyMap<NumericIdentity, L7SubjectPolicy> = new Map();
  /** Whether `#sent` holds what the rules no longer ask for. */
  #retains = false;
  #soon: NodeJS.Timeout | undefined;

  constructor(deps: L7SyncDeps) {
    this.#deps = deps;
  }

  /** Whether the proxy is behind. */
  get late(): boolean {
    return this.#late;
  }

  /** What the proxy was told last. */
  get sent(): L7Policy {
    return this.#sent;
  }

  /** What the proxy must know changed. */
  touch(): void {
    this.#dirty = true;
  }

  /** A change is in force: the proxy may forget what it only had to know on the way. */
  done(): void {
    if (this.#dirty || this.#retains || this.#told !== JSON.stringify(this.#endpointsNow()))
      this.touchLater();
  }

  /** Tells the proxy of changes that nobody waits for, as of endpoints that came or went. */
  touchLater(): void {
    this.#dirty = true;
    if (this.#deps.proxy.status().state === 'Off' || this.#deps.isUnknown()) return;
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      void this.settle();
    }, SOON_MS).unref();
  }

  stop(): void {
    clearTimeout(this.#soon);
  }

  /**
   * @param subject whose flows are about to be sent to the proxy
   * @returns whether the proxy judges by the policy of now; false when it did not say so in time
   */
  async settle(subject?: NumericIdentity): Promise<boolean> {
    if (this.#deps.isUnknown()) return false;
    if (subject !== undefined && !this.#dirty) {
      const wanted = this.#deps.policy().subjects.find((one) => one.subject === subject);
      this.#dirty = wanted !== this.#wanted.get(subject);
    }
    if (this.#dirty) this.#acknowledged = this.#push();
    return this.#acknowledged;
  }

  async #push(): Promise<boolean> {
    this.#dirty = false;
    const { proxy } = this.#deps;
    this.#sent = this.#compose();
    const { state } = proxy.status();
    const waitMs = this.#late ? Math.min(LATE_WAIT_MS, WAIT_MS[state]) : WAIT_MS[state];
    const told = this.#endpointsNow();
    this.#told = JSON.stringify(told);
    const inTime = await proxy.apply(this.#sent, told, waitMs);
    this.#late = !inTime;
    if (!inTime) this.#dirty = true;
    return inTime;
  }

  /** By the identity that its policy map is for: to a newer one that map, and its redirects, say nothing yet. */
  #endpointsNow(): readonly ProxyEndpoint[] {
    return this.#deps.endpoints().flatMap(({ id, identity, datapathIdentity, spec }) => {
      const judgedAs = datapathIdentity ?? identity?.id;
      return judgedAs === undefined
        ? []
        : [
            {
              ...{ endpoint: id, identity: judgedAs, addresses: addressesOf(spec) },
              portNames: namedPortsText(spec.namedPorts),
            },
          ];
    });
  }

  #compose(): L7Policy {
    const wanted = this.#deps.policy();
    this.#wanted = new Map(wanted.subjects.map((subject) => [subject.subject, subject]));
    const subjects = new Map(this.#wanted);
    this.#retains = false;
    const before = new Map(this.#sent.subjects.map((subject) => [subject.subject, subject]));
    for (const endpoint of this.#deps.endpoints()) {
      const redirects = endpoint.redirects ?? ALL_REDIRECTS;
      for (const direction of ['ingress', 'egress'] as const)
        if (redirects[direction] && endpoint.datapathIdentity !== undefined)
          this.#retains = keep(subjects, before, endpoint.datapathIdentity, direction) || this.#retains;
    }
    return { revision: wanted.revision, subjects: [...subjects.values()] };
  }
}

/**
 * Adds what was said of a subject and direction before, if nothing is said now; nothing passes if nothing ever was.
 * @returns whether it added anything
 */
function keep(
  subjects: Map<NumericIdentity, L7SubjectPolicy>,
  before: ReadonlyMap<NumericIdentity, L7SubjectPolicy>,
  subject: NumericIdentity,
  direction: Direction,
): boolean {
  const now = subjects.get(subject) ?? { subject, ingress: undefined, egress: undefined };
  if (now[direction] !== undefined) return false;
  const filters: Filters = before.get(subject)?.[direction] ?? [];
  subjects.set(subject, { ...now, [direction]: filters });
  return true;
}
