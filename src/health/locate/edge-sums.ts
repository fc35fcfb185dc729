import type { LossGraph } from './loss-graph.ts';
import type { Suspect, Zones } from './suspect.ts';

/** Probes sent and lost of a set of edges. */
export interface Counts {
  readonly sent: number;
  readonly lost: number;
}

/** Sums of a graph's edges by observed node, observer and pair of zones. */
export class EdgeSums {
  readonly #zones: Zones;
  readonly zoneCount: number;
  readonly nodes: number;
  readonly inSent: Float64Array;
  readonly inLost: Float64Array;
  readonly outSent: Float64Array;
  readonly outLost: Float64Array;
  /** Most that was lost of one edge of an observer. */
  readonly outMost: Uint16Array;
  readonly #zoneSent: Float64Array;
  readonly #zoneLost: Float64Array;

  constructor(graph: LossGraph, zones: Zones) {
    const { nodes } = graph;
    this.nodes = nodes;
    this.#zones = zones;
    this.zoneCount = zones === undefined ? 0 : zones.reduce((most, zone) => Math.max(most, zone + 1), 0);
    [this.inSent, this.inLost] = [new Float64Array(nodes), new Float64Array(nodes)];
    [this.outSent, this.outLost] = [new Float64Array(nodes), new Float64Array(nodes)];
    this.outMost = new Uint16Array(nodes);
    this.#zoneSent = new Float64Array(this.zoneCount ** 2);
    this.#zoneLost = new Float64Array(this.zoneCount ** 2);
    for (let from = 0; from < nodes; from++) this.#sumRow(graph, from);
    if (zones !== undefined) for (let from = 0; from < nodes; from++) this.#sumZones(graph, zones, from);
  }

  /** The hot loop: once over all edges. */
  #sumRow({ rows }: LossGraph, from: number): void {
    const row = rows[from];
    if (row === undefined) return;
    const { targets, sent, lost } = row;
    const { inSent, inLost } = this;
    let [rowSent, rowLost, most] = [0, 0, 0];
    for (let i = 0; i < targets.length; i++) {
      const to = targets[i] as number;
      const edgeSent = sent[i] as number;
      const edgeLost = lost[i] as number;
      rowSent += edgeSent;
      rowLost += edgeLost;
      if (edgeLost > most) most = edgeLost;
      inSent[to] = (inSent[to] as number) + edgeSent;
      inLost[to] = (inLost[to] as number) + edgeLost;
    }
    this.outSent[from] = rowSent;
    this.outLost[from] = rowLost;
    this.outMost[from] = most;
  }

  #sumZones({ rows }: LossGraph, zones: Uint16Array, from: number): void {
    const row = rows[from];
    if (row === undefined) return;
    const { targets, sent, lost } = row;
    const [zoneSent, zoneLost] = [this.#zoneSent, this.#zoneLost];
    const base = (zones[from] ?? 0) * this.zoneCount;
    for (let i = 0; i < targets.length; i++) {
      const at = base + (zones[targets[i] as number] as number);
      zoneSent[at] = (zoneSent[at] as number) + (sent[i] as number);
      zoneLost[at] = (zoneLost[at] as number) + (lost[i] as number);
    }
  }

  takeOut(from: number, to: number, sent: number, lost: number): void {
    this.inSent[to] = (this.inSent[to] ?? 0) - sent;
    this.inLost[to] = (this.inLost[to] ?? 0) - lost;
    this.outSent[from] = (this.outSent[from] ?? 0) - sent;
    this.outLost[from] = (this.outLost[from] ?? 0) - lost;
    if (this.#zones === undefined) return;
    const at = (this.#zones[from] ?? 0) * this.zoneCount + (this.#zones[to] ?? 0);
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
