import type { BpfPolicyEngine, BpfVerdict } from './bpf-policy-engine.ts';
import { type ProxyJudge, type RequestCounts, requestDisagreement } from './l7-judges.ts';
import { addressOf, CompiledCase, NaiveCase, type Outcome, portNamesOf, subjectOf } from './policy-judges.ts';
import type { LanguageCase, LanguagePacket } from './policy-language.ts';
import { KNOWN } from './policy-world.ts';

/*
 * One case through every engine: the rules read one by one, the compiled map state interpreted, the shipped programs
 * where they can be run, and for requests of redirected flows the proxy's own judges. A redirect counts as the same
 * only with the same port of the proxy, and the same verdict on each request.
 */

/** What the programs say where a reason is one that they drop for by policy. */
const BPF_OUTCOMES: Readonly<Record<number, Outcome>> = { 0: 'allow', 133: 'deny 133', 181: 'deny 181' };

/** How often each outcome, each port of the proxy and each verdict on a request came about. */
export interface Seen {
  readonly outcomes: Map<Outcome, number>;
  readonly requests: RequestCounts;
}

export function nothingSeen(): Seen {
  return { outcomes: new Map(), requests: new Map() };
}

/** Packets by subject and named ports: the endpoint changes its policy once for all of them. */
function bySubject(packets: readonly LanguagePacket[]): readonly (readonly LanguagePacket[])[] {
  const groups = new Map<string, LanguagePacket[]>();
  for (const packet of packets) {
    const key = `${packet.subject} ${packet.ports}`;
    const group = groups.get(key) ?? [];
    group.push(packet);
    groups.set(key, group);
  }
  return [...groups.values()];
}

const withPort = (outcome: Outcome, port: number | undefined): Outcome =>
  outcome === 'redirect' ? `redirect ${port}` : outcome;

function bpfOutcome({ reason, proxyPort }: BpfVerdict): Outcome {
  // Without a port there is no entry: the flow is dropped before.
  if (reason === 178) return `redirect ${proxyPort ?? 0}`;
  return proxyPort === undefined
    ? (BPF_OUTCOMES[reason] ?? `drop ${reason}`)
    : `passes with port ${proxyPort}`;
}

class Comparison {
  readonly #case: LanguageCase;
  readonly #compiled: CompiledCase;
  readonly #naive: NaiveCase;
  readonly #proxy: ProxyJudge;
  readonly #seen: Seen;

  constructor(policyCase: LanguageCase, seen: Seen) {
    this.#case = policyCase;
    this.#seen = seen;
    this.#compiled = new CompiledCase(policyCase);
    this.#naive = new NaiveCase(policyCase);
    for (const packet of policyCase.packets) this.#compiled.policyOf(packet);
    this.#proxy = this.#compiled.proxy();
  }

  async run(engine: BpfPolicyEngine | undefined): Promise<string | undefined> {
    engine?.setPrefixes(this.#compiled.resolver.prefixes());
    for (const group of bySubject(this.#case.packets)) {
      const [first] = group;
      if (first === undefined) continue;
      await engine?.setPolicy(subjectOf(first), this.#compiled.policyOf(first));
      for (const packet of group) {
        const problem = this.#packet(packet, engine) ?? this.#requests(packet);
        if (problem !== undefined) return `${JSON.stringify(packet)}: ${problem}`;
      }
    }
    return undefined;
  }

  #packet(packet: LanguagePacket, engine: BpfPolicyEngine | undefined): string | undefined {
    const plain = this.#naive.outcome(packet);
    const rules = withPort(plain, this.#naive.proxyPort(packet));
    const mapState = withPort(this.#compiled.outcome(packet), this.#compiled.proxyPort(packet));
    if (rules !== mapState) return `rules: ${rules}, map state: ${mapState}`;
    this.#count(plain);
    if (plain === 'redirect') this.#count(rules);
    if (engine === undefined) return undefined;
    const peer = typeof packet.peer === 'string' ? addressOf(packet.peer) : packet.peer;
    const bpf = bpfOutcome(engine.verdict({ ...packet, peer }));
    // Where rules contradict each other the programs only know that nothing passes.
    const expected = rules === 'contradiction' ? 'deny 133' : rules;
    return bpf === expected ? undefined : `rules and map state: ${rules}, BPF: ${bpf}`;
  }

  #requests(packet: LanguagePacket): string | undefined {
    if (this.#naive.outcome(packet) !== 'redirect') return undefined;
    const redirect = this.#naive.redirect(packet);
    if (redirect === undefined) return undefined;
    const [wanted, got] = [this.#naive.requests(packet), this.#compiled.requests(packet)];
    if (wanted.join() !== got.join())
      return `requests by the rules: ${wanted}, by the proxy's policy: ${got}`;
    const { direction, protocol, port } = packet;
    const peer = this.#compiled.identityOf(packet);
    return requestDisagreement(
      this.#proxy,
      {
        flow: {
          ...{ direction, subject: subjectOf(packet).id, peer, protocol, port },
          portNames: portNamesOf(packet),
        },
        kind: redirect.l7,
        allowing: redirect.requests,
        requests: this.#case.requests,
      },
      this.#seen.requests,
    );
  }

  #count(outcome: Outcome): void {
    this.#seen.outcomes.set(outcome, (this.#seen.outcomes.get(outcome) ?? 0) + 1);
  }
}

/**
 * What the engines say of the first packet or request of which they do not say the same; counts where they do.
 * @param engine the shipped programs; undefined where they cannot be run
 */
export function disagreement(
  policyCase: LanguageCase,
  engine: BpfPolicyEngine | undefined,
  seen: Seen = nothingSeen(),
): Promise<string | undefined> {
  return new Comparison(policyCase, seen).run(engine);
}

/** What becomes of a flow between two endpoints of one node: the initiator's egress, then the responder's ingress. */
function ofBothEnds(egress: Outcome, ingress: Outcome): Outcome {
  const [first = '', second = ''] = [egress, ingress].map((one) =>
    one === 'contradiction' ? 'deny 133' : one,
  );
  const isOver = (one: Outcome): boolean => one.startsWith('deny') || one === 'redirect 0';
  return isOver(first) || (first !== 'allow' && !isOver(second)) ? first : second;
}

/**
 * What the rules and the programs say of the first packet between two endpoints of the node, each with the policy of a
 * subject of the case, of which they do not say the same. A flow that both ends redirect goes to the initiator's proxy.
 */
export async function pairDisagreement(
  policyCase: LanguageCase,
  engine: BpfPolicyEngine,
  seen: Map<Outcome, number> = new Map(),
): Promise<string | undefined> {
  const { packets } = policyCase;
  const [from] = packets;
  const to = packets.find(({ subject }) => subject !== from?.subject);
  if (from === undefined || to === undefined) return undefined;
  const compiled = new CompiledCase(policyCase);
  const naive = new NaiveCase(policyCase);
  await engine.setPolicy(subjectOf(from), compiled.policyOf(from), 'first');
  await engine.setPolicy(subjectOf(to), compiled.policyOf(to), 'second');
  const knownPlace = (packet: LanguagePacket): number =>
    KNOWN.findIndex(({ id }) => id === subjectOf(packet).id);
  const said = (packet: LanguagePacket): Outcome => withPort(naive.outcome(packet), naive.proxyPort(packet));
  for (const { protocol, port } of packets) {
    const egress = said({ ...from, peer: knownPlace(to), direction: 'egress', protocol, port });
    const ingress = said({ ...to, peer: knownPlace(from), direction: 'ingress', protocol, port });
    const rules = ofBothEnds(egress, ingress);
    const bpf = bpfOutcome(engine.verdict({ peer: 'second', direction: 'egress', protocol, port }));
    if (bpf !== rules)
      return `${protocol}/${port} egress: ${egress}, ingress: ${ingress}, together: ${rules}, BPF: ${bpf}`;
    seen.set(`${egress} ${ingress}`, (seen.get(`${egress} ${ingress}`) ?? 0) + 1);
  }
  return undefined;
}
