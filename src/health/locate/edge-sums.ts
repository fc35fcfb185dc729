import type { LossGraph } from './loss-graph.ts';
import type { Suspect, Zones } from './suspect.ts';

/** Probes sent and lost of a set of edges. */
export interface Counts {
  readonly sent: number;
  readonly lost: number;
}

/** In the packed sums: what was sent, in units of this, plus what was lost. Both have 26 bits and more. */
const SENT_UNIT = 2 ** 26;

/** Sums of a graph's edges by observed node, observer and pair of zones. */
export class EdgeSums {
  readonly #zones: Zones;
  readonly zoneCount: number;
  readonly nodes: number;
  readonly inSent: Float64Array;
  readonly inLost: Float64Array;
  readonly outSent: Float64Array;
  readonly outLost: Float64Array;
  readonly #zoneSent: Float64Array;
  readonly #zoneLost: Float64Array;

  constructor(graph: LossGraph, zones: Zones) {
    const { nodes } = graph;
    this.nodes = nodes;
    this.#zones = zones;
    this.zoneCount = zones === undefined ? 1 : zones.reduce((most, zone) => Math.max(most, zone + 1), 0);
    [this.inSent, this.inLost] = [new Float64Array(nodes), new Float64Array(nodes)];
    [this.outSent, this.outLost] = [new Float64Array(nodes), new Float64Array(nodes)];
    this.#zoneSent = new Float64Array(this.zoneCount ** 2);
    this.#zoneLost = new Float64Array(this.zoneCount ** 2);
    this.#unpack(this.#sum(graph));
  }

  /** @returns packed sums by zone of the observer and observed node */
  #sum({ nodes, rows }: LossGraph): Float64Array {
    const byZone = new Float64Array(this.zoneCount * nodes);
    for (let from = 0; from < nodes; from++) {
      const row = rows[from];
      if (row === undefined || row.targets.length === 0) continue;
      const base = (this.#zones?.[from] ?? 0) * nodes;
      const total = sumRow(row.targets, row.counts, byZone.subarray(base, base + nodes));
      this.outSent[from] = Math.floor(total / SENT_UNIT);
      this.outLost[from] = total % SENT_UNIT;
    }
    return byZone;
  }

  #unpack(byZone: Float64Array): void {
    const { nodes, zoneCount } = this;
    for (let at = 0; at < byZone.length; at++) {
      const packed = byZone[at] as number;
      if (packed === 0) continue;
      const [sent, lost] = [Math.floor(packed / SENT_UNIT), packed % SENT_UNIT];
      const to = at % nodes;
      const way = Math.floor(at / nodes) * zoneCount + (this.#zones?.[to] ?? 0);
      this.inSent[to] = (this.inSent[to] as number) + sent;
      this.inLost[to] = (this.inLost[to] as number) + lost;
      this.#zoneSent[way] = (this.#zoneSent[way] as number) + sent;
      this.#zoneLost[way] = (this.#zoneLost[way] as number) + lost;
    }
  }

  takeOut(from: number, to: number, sent: number, lost: number): void {
    this.inSent[to] = (this.inSent[to] ?? 0) - sent;
    this.inLost[to] = (this.inLost[to] ?? 0) - lost;
    this.outSent[from] = (this.outSent[from] ?? 0) - sent;
    this.outLost[from] = (this.outLost[from] ?? 0) - lost;
    const at = (this.#zones?.[from] ?? 0) * this.zoneCount + (this.#zones?.[to] ?? 0);
    this.#zoneSent[at] = (this.#zoneSent[at] ?? 0) - sent;
    this.#zoneLost[at] = (this.#zoneLost[at] ?? 0) - lost;
  }

  total(): Counts {
    return { sent: this.outSent.reduce((a, b) => a + b, 0), lost: this.outLost.reduce((a, b) => a + b, 0) };
  }

  way(from: number, to: number): Counts {
    const at = from * this.zoneCount + to;
    return { sent: this.#zoneSent[at] ?? 0, lost: this.#zoneLost[at] ?? 0 };
  }

  /** All from, to and within a zone. */
  zone(zone: number): Counts {
    let { sent, lost } = this.way(zone, zone);
    for (let other = 0; other < this.zoneCount; other++) {
      if (other === zone) continue;
      const [there, back] = [this.way(zone, other), this.way(other, zone)];
      sent += there.sent + back.sent;
      lost += there.lost + back.lost;
    }
    return { sent, lost };
  }

  /** Suspects of zones, each with what its edges lost. */
  *zoneSuspects(): Generator<readonly [Suspect, Counts]> {
    if (this.zoneCount < 2) return;
    for (let from = 0; from < this.zoneCount; from++) {
      for (let to = from; to < this.zoneCount; to++) yield* this.#betweenZones(from, to);
      const all = this.zone(from);
      yield [{ kind: 'zone', zone: from }, all];
      if (this.zoneCount < 3) continue;
      const within = this.way(from, from);
      yield [
        { kind: 'zone-cut', zone: from },
        { sent: all.sent - within.sent, lost: all.lost - within.lost },
      ];
    }
  }

  *#betweenZones(from: number, to: number): Generator<readonly [Suspect, Counts]> {
    const there = this.way(from, to);
    if (from === to) {
      yield [{ kind: 'zones', from, to }, there];
      return;
    }
    const back = this.way(to, from);
    yield [
      { kind: 'zones', from, to },
      { sent: there.sent + back.sent, lost: there.lost + back.lost },
    ];
    yield [{ kind: 'zone-way', from, to }, there];
    yield [{ kind: 'zone-way', from: to, to: from }, back];
  }
}

/** The hot loop: once over all edges, one addition each. @returns the sum of the row, packed */
function sumRow(targets: Uint16Array, counts: Uint32Array, sums: Float64Array): number {
  let total = 0;
  for (let i = 0; i < targets.length; i++) {
    const packed = counts[i] as number;
    const wide = (packed >>> 16) * SENT_UNIT + (packed & 0xffff);
    const to = targets[i] as number;
    total += wide;
    sums[to] = (sums[to] as number) + wide;
  }
  return total;
}
