import type { LossGraph } from './loss-graph.ts';

/** A set of edges that one fault would touch. */
export type Suspect =
  | { readonly kind: 'node'; readonly node: number }
  /** Only what it observes itself: nobody else sees it. */
  | { readonly kind: 'observer'; readonly node: number }
  | { readonly kind: 'pair'; readonly from: number; readonly to: number }
  /** All between two zones; `from` equals `to`: within one. */
  | { readonly kind: 'zones'; readonly from: number; readonly to: number }
  | { readonly kind: 'all' };

export interface Finding {
  readonly suspect: Suspect;
  /** Loss of its edges, 0..1. */
  readonly rate: number;
  readonly observers: number;
  readonly sent: number;
  readonly lost: number;
  /** How much better it explains its edges than the background does: the logarithm of the ratio of likelihoods. */
  readonly gain: number;
}

export interface PeelOptions {
  /** Zone of each node, or undefined where zones are not known. */
  readonly zones?: Uint16Array | undefined;
  /** Least gain of a finding. Default 25; of pairs, of which there are many more, 35. */
  readonly gain?: number | undefined;
  readonly pairGain?: number | undefined;
  /** Findings at most. Default 32. */
  readonly most?: number | undefined;
  /** Least background loss that is assumed. Default 2e-5. */
  readonly floor?: number | undefined;
}

const GAIN = 25;
const PAIR_GAIN = 35;
const MOST = 32;
const FLOOR = 2e-5;
/** Share of a suspect's edges that must show its fault, and the loss of one that does: a part of the suspect's rate. */
const SHOWING_SHARE = 0.6;
const SHOWING_RATE = 0.3;
/** A fault loses so many times the background. */
const RATE_FACTOR = 3;

/** Sums over a suspect's edges. */
class Sums {
  readonly sent: Int32Array;
  readonly lost: Int32Array;

  constructor(length: number) {
    this.sent = new Int32Array(length);
    this.lost = new Int32Array(length);
  }
}

interface Candidate {
  readonly suspect: Suspect;
  readonly gain: number;
  readonly sent: number;
  readonly lost: number;
}

/**
 * The fewest places that explain the loss. In steps:
 *
 * 1. the background is the median loss of the nodes, at least `floor`;
 * 2. each node, observer, pair of zones and single pair is a suspect; its gain is how much likelier its edges' losses are
 *    under a rate of its own than under the background's;
 * 3. the suspect with the greatest gain whose edges mostly show the fault is a finding; its edges are taken out;
 * 4. again, until no gain is large enough for chance to be ruled out.
 *
 * A broken pair is no broken node: its gain lies in one edge, and the pair, which has no edge without loss, gains more.
 */
export function peel(graph: LossGraph, options: PeelOptions = {}): Finding[] {
  const search = new Search(graph, options);
  const findings: Finding[] = [];
  while (findings.length < (options.most ?? MOST)) {
    const finding = search.next();
    if (finding === undefined) break;
    findings.push(finding);
  }
  return findings;
}

class Search {
  readonly #graph: LossGraph;
  readonly #zones: Uint16Array | undefined;
  readonly #zoneCount: number;
  readonly #gain: number;
  readonly #pairGain: number;
  readonly #background: number;
  /** 1: explained by a finding. */
  readonly #done: Uint8Array;
  readonly #in: Sums;
  readonly #out: Sums;
  readonly #between: Sums;
  /** Edges with loss that may be pairs, the greatest gain first, with their observers. */
  readonly #pairs: { readonly edge: number; readonly from: number; readonly gain: number }[] = [];

  constructor(graph: LossGraph, options: PeelOptions) {
    const { zones } = options;
    this.#graph = graph;
    this.#zones = zones;
    this.#zoneCount = zones === undefined ? 0 : zones.reduce((most, zone) => Math.max(most, zone + 1), 0);
    this.#gain = options.gain ?? GAIN;
    this.#pairGain = options.pairGain ?? PAIR_GAIN;
    this.#done = new Uint8Array(graph.sent.length);
    this.#in = new Sums(graph.nodes);
    this.#out = new Sums(graph.nodes);
    this.#between = new Sums(this.#zoneCount ** 2);
    this.#sum();
    this.#background = Math.max(options.floor ?? FLOOR, this.#medianRate());
    this.#findPairs();
  }

  /** The hot loop: once over all edges. */
  #sum(): void {
    const { nodes, starts, targets, sent, lost } = this.#graph;
    const { sent: inSent, lost: inLost } = this.#in;
    for (let from = 0; from < nodes; from++) {
      const end = starts[from + 1] ?? 0;
      let [rowSent, rowLost] = [0, 0];
      for (let edge = starts[from] ?? 0; edge < end; edge++) {
        const to = targets[edge] as number;
        const edgeSent = sent[edge] as number;
        const edgeLost = lost[edge] as number;
        rowSent += edgeSent;
        inSent[to] = (inSent[to] as number) + edgeSent;
        if (edgeLost === 0) continue;
        rowLost += edgeLost;
        inLost[to] = (inLost[to] as number) + edgeLost;
      }
      this.#out.sent[from] = rowSent;
      this.#out.lost[from] = rowLost;
    }
    if (this.#zones !== undefined) this.#sumZones(this.#zones);
  }

  #sumZones(zones: Uint16Array): void {
    const { nodes, starts, targets, sent, lost } = this.#graph;
    for (let from = 0; from < nodes; from++) {
      const row = (zones[from] ?? 0) * this.#zoneCount;
      for (let edge = starts[from] ?? 0; edge < (starts[from + 1] ?? 0); edge++) {
        const at = row + (zones[targets[edge] ?? 0] ?? 0);
        this.#add(this.#between, at, sent[edge] ?? 0, lost[edge] ?? 0);
      }
    }
  }

  #add(sums: Sums, at: number, sent: number, lost: number): void {
    sums.sent[at] = (sums.sent[at] ?? 0) + sent;
    sums.lost[at] = (sums.lost[at] ?? 0) + lost;
  }

  #medianRate(): number {
    const rates: number[] = [];
    for (let node = 0; node < this.#graph.nodes; node++) {
      const sent = (this.#in.sent[node] ?? 0) + (this.#out.sent[node] ?? 0);
      if (sent > 0) rates.push(((this.#in.lost[node] ?? 0) + (this.#out.lost[node] ?? 0)) / sent);
    }
    rates.sort((a, b) => a - b);
    // The lower quartile: half of the nodes may be touched by a fault, a quarter by none.
    return rates[Math.floor(rates.length / 4)] ?? 0;
  }

  #findPairs(): void {
    const { nodes, starts, sent, lost } = this.#graph;
    // No fewer are ever enough, were they all that was sent.
    const least = Math.ceil(this.#pairGain / -Math.log(this.#background));
    for (let from = 0; from < nodes; from++) {
      const end = starts[from + 1] ?? 0;
      for (let edge = starts[from] ?? 0; edge < end; edge++) {
        const edgeLost = lost[edge] as number;
        if (edgeLost < least) continue;
        const gain = this.#gainOf(sent[edge] ?? 0, edgeLost);
        if (gain >= this.#pairGain) this.#pairs.push({ edge, from, gain });
      }
    }
    this.#pairs.sort((a, b) => a.gain - b.gain);
  }

  #gainOf(sent: number, lost: number): number {
    if (sent === 0 || lost <= RATE_FACTOR * this.#background * sent) return 0;
    const rate = lost / sent;
    const background = this.#background;
    const rest = sent - lost;
    const none = rest === 0 ? 0 : rest * Math.log((1 - rate) / (1 - background));
    return lost * Math.log(rate / background) + none;
  }

  next(): Finding | undefined {
    const candidates = this.#candidates();
    for (;;) {
      let best = candidates[0];
      for (const candidate of candidates)
        if (best === undefined || candidate.gain > best.gain) best = candidate;
      if (best === undefined) return undefined;
      const finding = this.#check(best);
      if (finding !== undefined) return finding;
      candidates.splice(candidates.indexOf(best), 1);
    }
  }

  #candidates(): Candidate[] {
    const list: Candidate[] = [];
    const offer = (suspect: Suspect, sent: number, lost: number, least: number): void => {
      const gain = this.#gainOf(sent, lost);
      if (gain >= least) list.push({ suspect, gain, sent, lost });
    };
    let [allSent, allLost] = [0, 0];
    for (let node = 0; node < this.#graph.nodes; node++) {
      const [inSent, inLost] = [this.#in.sent[node] ?? 0, this.#in.lost[node] ?? 0];
      const [outSent, outLost] = [this.#out.sent[node] ?? 0, this.#out.lost[node] ?? 0];
      allSent += outSent;
      allLost += outLost;
      offer({ kind: 'node', node }, inSent + outSent, inLost + outLost, this.#gain);
      offer({ kind: 'observer', node }, outSent, outLost, this.#gain);
    }
    if (this.#zoneCount > 1) {
      for (let from = 0; from < this.#zoneCount; from++) {
        for (let to = from; to < this.#zoneCount; to++) this.#offerZones(from, to, offer);
      }
    }
    offer({ kind: 'all' }, allSent, allLost, this.#gain);
    this.#offerPair(list);
    return list;
  }

  #offerZones(
    from: number,
    to: number,
    offer: (suspect: Suspect, sent: number, lost: number, least: number) => void,
  ): void {
    const [there, back] = [from * this.#zoneCount + to, to * this.#zoneCount + from];
    const twice = there === back ? 0 : 1;
    const sent = (this.#between.sent[there] ?? 0) + twice * (this.#between.sent[back] ?? 0);
    const lost = (this.#between.lost[there] ?? 0) + twice * (this.#between.lost[back] ?? 0);
    offer({ kind: 'zones', from, to }, sent, lost, this.#gain);
  }

  #offerPair(list: Candidate[]): void {
    while (this.#pairs.length > 0) {
      const pair = this.#pairs.at(-1);
      if (pair === undefined) return;
      if (this.#done[pair.edge] === 1) {
        this.#pairs.pop();
        continue;
      }
      const to = this.#graph.targets[pair.edge] ?? 0;
      list.push({
        suspect: { kind: 'pair', from: pair.from, to },
        gain: pair.gain,
        sent: this.#graph.sent[pair.edge] ?? 0,
        lost: this.#graph.lost[pair.edge] ?? 0,
      });
      return;
    }
  }

  /** Whether the suspect's edges mostly show the fault; then they are taken out. */
  #check({ suspect, gain, sent, lost }: Candidate): Finding | undefined {
    const rate = lost / sent;
    const edges = this.#edgesOf(suspect);
    const least = Math.max(rate * SHOWING_RATE, this.#background);
    const observers = new Set<number>();
    let [showing, expected] = [0, 0];
    for (let i = 0; i < edges.length; i += 2) {
      const edge = edges[i] ?? 0;
      const edgeSent = this.#graph.sent[edge] ?? 0;
      const edgeLost = this.#graph.lost[edge] ?? 0;
      // An edge that is too short to have lost anything says nothing.
      expected += rate === 1 ? 1 : 1 - (1 - rate) ** edgeSent;
      if (edgeLost === 0 || edgeLost < least * edgeSent) continue;
      showing++;
      observers.add(edges[i + 1] ?? 0);
    }
    if (
      showing < SHOWING_SHARE * expected ||
      (suspect.kind === 'node' && !this.#seenByOthers(suspect.node, rate))
    ) {
      return undefined;
    }
    for (let i = 0; i < edges.length; i += 2) this.#takeOut(edges[i] ?? 0, edges[i + 1] ?? 0);
    return { suspect, rate, observers: observers.size, sent, lost, gain };
  }

  /** A node whom the others see well is an observer that sees badly. */
  #seenByOthers(node: number, rate: number): boolean {
    const sent = this.#in.sent[node] ?? 0;
    return sent === 0 || (this.#in.lost[node] ?? 0) / sent >= rate * SHOWING_RATE;
  }

  /** The suspect's edges that nothing explains yet, each followed by its observer. */
  #edgesOf(suspect: Suspect): number[] {
    const edges: number[] = [];
    switch (suspect.kind) {
      case 'node':
        this.#collectRow(edges, suspect.node, undefined);
        for (let from = 0; from < this.#graph.nodes; from++) {
          if (from !== suspect.node) this.#collectRow(edges, from, suspect.node);
        }
        break;
      case 'observer':
        this.#collectRow(edges, suspect.node, undefined);
        break;
      case 'pair':
        this.#collectRow(edges, suspect.from, suspect.to);
        break;
      case 'zones':
        this.#collectZones(edges, suspect.from, suspect.to);
        break;
      case 'all':
        for (let from = 0; from < this.#graph.nodes; from++) this.#collectRow(edges, from, undefined);
        break;
    }
    return edges;
  }

  /** Edges of an observer, or that to one node. */
  #collectRow(edges: number[], from: number, to: number | undefined): void {
    const { starts, targets } = this.#graph;
    const end = starts[from + 1] ?? 0;
    for (let edge = starts[from] ?? 0; edge < end; edge++) {
      if (to !== undefined && targets[edge] !== to) continue;
      if (this.#done[edge] === 0) edges.push(edge, from);
    }
  }

  #collectZones(edges: number[], a: number, b: number): void {
    const { nodes, starts, targets } = this.#graph;
    const zone = (node: number): number => this.#zones?.[node] ?? 0;
    for (let from = 0; from < nodes; from++) {
      const other = zone(from) === a ? b : zone(from) === b ? a : undefined;
      if (other === undefined) continue;
      for (let edge = starts[from] ?? 0; edge < (starts[from + 1] ?? 0); edge++) {
        if (zone(targets[edge] ?? 0) === other && this.#done[edge] === 0) edges.push(edge, from);
      }
    }
  }

  #takeOut(edge: number, from: number): void {
    const { targets, sent, lost } = this.#graph;
    const to = targets[edge] ?? 0;
    const [edgeSent, edgeLost] = [sent[edge] ?? 0, lost[edge] ?? 0];
    this.#done[edge] = 1;
    this.#add(this.#out, from, -edgeSent, -edgeLost);
    this.#add(this.#in, to, -edgeSent, -edgeLost);
    if (this.#zones === undefined) return;
    const at = (this.#zones[from] ?? 0) * this.#zoneCount + (this.#zones[to] ?? 0);
    this.#add(this.#between, at, -edgeSent, -edgeLost);
  }
}
