import { type Counts, EdgeSums } from './edge-sums.ts';
import { LOSSY_LEAST, type LossGraph, lostOf, sentOf } from './loss-graph.ts';
import { type EdgeVisit, type Suspect, visitEdges, type Zones } from './suspect.ts';

export interface Finding {
  readonly suspect: Suspect;
  /** Loss of its edges, 0..1. */
  readonly rate: number;
  /** Nodes that saw it. */
  readonly observers: number;
  /** Of all its edges. */
  readonly sent: number;
  readonly lost: number;
  /** How much better it explains its edges than the background does: the logarithm of the ratio of likelihoods. */
  readonly gain: number;
  /** Whether the gain rules out chance, with `keep` or without. */
  readonly certain: boolean;
  /** Part of its edges that show it, of those that could have, 0..1. */
  readonly showing: number;
  /** Edges that show it: observer, observed, observer, observed, ... */
  readonly edges: Uint16Array;
}

export interface PeelOptions {
  readonly zones?: Zones;
  /** Part of the gain that chance is ruled out by at which something is a finding already, 0..1. Default 1. */
  readonly keep?: number | undefined;
  /** Findings at most. Default 32. */
  readonly most?: number | undefined;
  /** Background loss that is assumed at least and at most. Defaults 5e-6 and 0.01. */
  readonly floor?: number | undefined;
  readonly ceiling?: number | undefined;
}

/**
 * Chance gives a suspect a gain of g once in e^g times or less. This much, and the logarithm of the number of suspects,
 * rules it out for some e^20 looks at a cluster: a look a second for fifteen years.
 */
const GAIN = 20;
/** Lost by chance among the quiet half, for all that was seen of it: what nobody lost yet is not never lost. */
const UNSEEN_LOST = 3;
const MOST = 32;
const FLOOR = 5e-6;
const CEILING = 0.01;
/** Share of a suspect's edges that must show its fault, and the loss of one that does: a part of the suspect's rate. */
const SHOWING_SHARE = 0.6;
const SHOWING_RATE = 0.3;
/** A fault loses so many times the background. */
const RATE_FACTOR = 3;

interface Candidate extends Counts {
  readonly suspect: Suspect;
  readonly gain: number;
}

interface PairCandidate {
  readonly from: number;
  readonly to: number;
  readonly index: number;
  readonly gain: number;
}

/**
 * The fewest places that explain the loss. In steps:
 *
 * 1. the background is what the quieter half of the nodes loses, within bounds;
 * 2. each node, what is seen of it, what it sees, each zone, pair of zones and single pair is a suspect; its gain is how
 *    much likelier its edges' losses are under a rate of its own than under the background's;
 * 3. the suspect with the greatest gain whose edges mostly show the fault, to more than one other node, is a finding; its
 *    edges are taken out;
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
  readonly #zones: Zones;
  readonly #gain: number;
  readonly #pairGain: number;
  readonly #background: number;
  readonly #ceiling: number;
  readonly #keep: number;
  readonly #sums: EdgeSums;
  /** By observer, 1: explained by a finding; undefined: none is. */
  readonly #done: (Uint8Array | undefined)[] = [];
  /** No pair gains more. */
  readonly #pairBound: number;
  /** Edges with loss that may be pairs, the greatest gain last; undefined: not looked for yet. */
  #pairs: PairCandidate[] | undefined;
  /** Most edges do not show it; to visit them anew for each of many pairs would cost more than all else. */
  #isAllRuledOut = false;

  constructor(graph: LossGraph, options: PeelOptions) {
    this.#graph = graph;
    this.#zones = options.zones;
    const edges = graph.rows.reduce((count, { targets }) => count + targets.length, 0);
    this.#keep = options.keep ?? 1;
    this.#pairGain = this.#keep * (GAIN + Math.log(1 + edges));
    this.#sums = new EdgeSums(graph, options.zones);
    this.#gain = this.#keep * (GAIN + Math.log(1 + 3 * graph.nodes + 2 * this.#sums.zoneCount ** 2));
    this.#ceiling = options.ceiling ?? CEILING;
    this.#background = Math.min(this.#ceiling, Math.max(options.floor ?? FLOOR, this.#quietRate()));
    const most = graph.rows.reduce((max, row) => Math.max(max, row.most), 0);
    this.#pairBound = -Math.log(this.#background) * most;
  }

  /** Loss of the quieter half of the nodes: the other half may be touched by a fault. */
  #quietRate(): number {
    const { nodes, inSent, inLost, outSent, outLost } = this.#sums;
    const counts: Counts[] = [];
    for (let node = 0; node < nodes; node++) {
      const sent = (inSent[node] ?? 0) + (outSent[node] ?? 0);
      if (sent > 0) counts.push({ sent, lost: (inLost[node] ?? 0) + (outLost[node] ?? 0) });
    }
    counts.sort((a, b) => a.lost / a.sent - b.lost / b.sent);
    let [sent, lost] = [0, 0];
    for (const one of counts.slice(0, Math.ceil(counts.length / 2))) {
      sent += one.sent;
      lost += one.lost;
    }
    return sent === 0 ? 0 : (lost + UNSEEN_LOST) / sent;
  }

  #findPairs(): PairCandidate[] {
    const { nodes, rows } = this.#graph;
    // No fewer are ever enough, were they all that was sent.
    const least = Math.max(LOSSY_LEAST, Math.ceil(this.#pairGain / -Math.log(this.#background)));
    const pairs: PairCandidate[] = [];
    for (let from = 0; from < nodes; from++) {
      const row = rows[from];
      if (row === undefined || row.most < least) continue;
      const { targets, counts, lossy } = row;
      for (const index of lossy) {
        const packed = counts[index] as number;
        if ((packed & 0xffff) < least || this.#done[from]?.[index] === 1) continue;
        const gain = this.#gainOf(sentOf(packed), lostOf(packed));
        if (gain >= this.#pairGain) pairs.push({ from, to: targets[index] as number, index, gain });
      }
    }
    return pairs.sort((a, b) => a.gain - b.gain);
  }

  #gainOf(sent: number, lost: number, background = this.#background): number {
    if (sent === 0 || lost <= RATE_FACTOR * background * sent) return 0;
    const rate = lost / sent;
    const rest = sent - lost;
    const none = rest === 0 ? 0 : rest * Math.log((1 - rate) / (1 - background));
    return lost * Math.log(rate / background) + none;
  }

  next(): Finding | undefined {
    const candidates = this.#candidates();
    let withPair = false;
    for (;;) {
      const best = greatest(candidates);
      // A dead node is a pair with each of its observers: pairs are looked for when nothing gains more.
      if (!withPair && (best === undefined || best.gain <= this.#pairBound)) {
        withPair = true;
        this.#offerPair(candidates);
        continue;
      }
      if (best === undefined) return undefined;
      const finding = this.#check(best);
      if (finding !== undefined) return finding;
      if (best.suspect.kind === 'all') this.#isAllRuledOut = true;
      candidates.splice(candidates.indexOf(best), 1);
    }
  }

  #candidates(): Candidate[] {
    const { nodes, inSent, inLost, outSent, outLost } = this.#sums;
    const list: Candidate[] = [];
    const offer = (suspect: Suspect, { sent, lost }: Counts, background = this.#background): void => {
      const gain = this.#gainOf(sent, lost, background);
      if (gain >= this.#gain) list.push({ suspect, gain, sent, lost });
    };
    for (let node = 0; node < nodes; node++) {
      const seen = { sent: inSent[node] ?? 0, lost: inLost[node] ?? 0 };
      const sees = { sent: outSent[node] ?? 0, lost: outLost[node] ?? 0 };
      if (seen.lost === 0 && sees.lost === 0) continue;
      offer({ kind: 'node', node }, { sent: seen.sent + sees.sent, lost: seen.lost + sees.lost });
      offer({ kind: 'observed', node }, seen);
      offer({ kind: 'observer', node }, sees);
    }
    const all = this.#sums.total();
    // A zone that every edge touches is no smaller place than all.
    for (const [suspect, counts] of this.#sums.zoneSuspects())
      if (counts.sent < all.sent) offer(suspect, counts);
    // All are not measured by the quieter half of themselves.
    if (!this.#isAllRuledOut) offer({ kind: 'all' }, this.#sums.total(), this.#ceiling);
    return list;
  }

  #offerPair(list: Candidate[]): void {
    this.#pairs ??= this.#findPairs();
    for (let pair = this.#pairs.at(-1); pair !== undefined; pair = this.#pairs.at(-1)) {
      const { from, to, index, gain } = pair;
      if (this.#done[from]?.[index] !== 1) {
        const packed = this.#graph.rows[from]?.counts[index] ?? 0;
        list.push({ suspect: { kind: 'pair', from, to }, gain, sent: sentOf(packed), lost: lostOf(packed) });
        return;
      }
      this.#pairs.pop();
    }
  }

  /** Whether the suspect's edges mostly show the fault; then they are taken out. */
  #check({ suspect, gain, sent, lost }: Candidate): Finding | undefined {
    const rate = lost / sent;
    const least = Math.max(rate * SHOWING_RATE, this.#background);
    const [edges, left]: [number[], number[]] = [[], []];
    const mayShow = chanceToShow(rate);
    let expected = 0;
    this.#visitLeft(suspect, (from, index, to) => {
      const packed = this.#graph.rows[from]?.counts[index] ?? 0;
      const [edgeSent, edgeLost] = [sentOf(packed), lostOf(packed)];
      expected += mayShow(edgeSent);
      left.push(from, index, to);
      if (edgeLost > 0 && edgeLost >= least * edgeSent) edges.push(from, to);
    });
    const showing = edges.length / 2 / expected;
    if (showing < SHOWING_SHARE || !isShared(suspect, edges)) return undefined;
    if (suspect.kind === 'node' && !this.#seenByOthers(suspect.node, rate)) return undefined;
    for (let i = 0; i < left.length; i += 3)
      this.#takeOut(left[i] as number, left[i + 1] as number, left[i + 2] as number);
    return {
      suspect,
      rate,
      observers: new Set(edges.filter((_, i) => i % 2 === 0)).size,
      sent,
      lost,
      gain,
      certain: gain >= (suspect.kind === 'pair' ? this.#pairGain : this.#gain) / this.#keep,
      showing: Math.min(1, showing),
      edges: Uint16Array.from(edges),
    };
  }

  /** A node whom the others see well is an observer that sees badly. */
  #seenByOthers(node: number, rate: number): boolean {
    const sent = this.#sums.inSent[node] ?? 0;
    return sent === 0 || (this.#sums.inLost[node] ?? 0) / sent >= rate * SHOWING_RATE;
  }

  /** The suspect's edges that nothing explains yet. */
  #visitLeft(suspect: Suspect, visit: EdgeVisit): void {
    const done = this.#done;
    visitEdges(this.#graph, suspect, this.#zones, (from, index, to) => {
      if (done[from]?.[index] !== 1) visit(from, index, to);
    });
  }

  #takeOut(from: number, index: number, to: number): void {
    const row = this.#graph.rows[from];
    if (row === undefined) return;
    const done = this.#done[from] ?? new Uint8Array(row.targets.length);
    this.#done[from] = done;
    done[index] = 1;
    const packed = row.counts[index] ?? 0;
    this.#sums.takeOut(from, to, sentOf(packed), lostOf(packed));
  }
}

function greatest(candidates: readonly Candidate[]): Candidate | undefined {
  let best = candidates[0];
  for (const candidate of candidates) if (best === undefined || candidate.gain > best.gain) best = candidate;
  return best;
}

/** One pair cannot tell which of its ends is to blame: a node, a zone or an observer shows to several others. */
function isShared(suspect: Suspect, edges: readonly number[]): boolean {
  if (suspect.kind === 'pair') return true;
  const node = 'node' in suspect ? suspect.node : undefined;
  const others = new Set<number>();
  for (let i = 0; i < edges.length && others.size < 3; i++) {
    const end = edges[i];
    if (end !== undefined && end !== node) others.add(end);
  }
  // Without a node in common, two ends are one pair.
  return others.size >= (node === undefined ? 3 : 2);
}

/** How likely an edge with so many probes loses any: one that is too short says nothing. */
function chanceToShow(rate: number): (sent: number) => number {
  if (rate === 1) return (sent) => (sent > 0 ? 1 : 0);
  const known: number[] = [];
  return (sent) => {
    const chance = known[sent] ?? 1 - (1 - rate) ** sent;
    known[sent] = chance;
    return chance;
  };
}
