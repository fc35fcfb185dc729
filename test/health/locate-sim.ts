import type { CellSource, IndexedCell } from '../../src/health/locate/row-reader.ts';
import { observedPeers } from '../../src/health/plan/observers.ts';
import { type FaultPlace, type HealthRow, PathStates, PROBE_KINDS } from '../../src/model/health.ts';
import type { Random } from '../support/random.ts';

/** What is broken, by numbers of nodes and zones. `rate` of probes that are lost: 1 is silence. */
export type Fault = { readonly rate: number } & (
  | { readonly kind: 'node' | 'observer'; readonly node: number }
  | { readonly kind: 'pair' | 'zone-pair'; readonly from: number; readonly to: number }
  | { readonly kind: 'zone'; readonly zone: number }
);

export interface SimOptions {
  readonly nodes: number;
  /** Peers that each node observes; undefined: all. */
  readonly peers?: number | undefined;
  readonly zones?: number | undefined;
  /** Probes of a path in its window. Default 60. */
  readonly sent?: number | undefined;
  /** Loss by chance. */
  readonly noise: number;
}

const REACHABLE = PROBE_KINDS.reduce((word, _, kind) => word | (PathStates.reachable << (2 * kind)), 0) >>> 0;
const SILENT =
  PROBE_KINDS.reduce(
    (word, { expects }, kind) =>
      word | (PathStates[expects === 'answer' ? 'unreachable' : 'reachable'] << (2 * kind)),
    0,
  ) >>> 0;
/** As a path's tracker judges loss: so much of a minute makes it degraded. */
const DEGRADED = ((REACHABLE & ~3) | PathStates.degraded) >>> 0;
const DEGRADED_LOST = 5;

/** A cluster whose rows are drawn by chance from what is broken in it. */
export class SimMatrix implements CellSource {
  readonly nodes: CellSource['nodes'];
  readonly self: string;
  readonly zoneOf: (node: number) => number;
  readonly rows: readonly {
    readonly targets: Uint16Array;
    readonly lost: Uint16Array;
    readonly states: Uint32Array;
  }[];
  readonly #random: Random;
  readonly #sent: number;
  readonly #noise: number;
  readonly #drawers = new Map<number, () => number>();
  #version = 0;

  constructor(options: SimOptions, random: Random) {
    const { nodes, peers, zones, noise } = options;
    this.#random = random;
    this.#sent = options.sent ?? 60;
    this.#noise = noise;
    this.zoneOf = (node) => node % (zones ?? 1);
    const names = Array.from({ length: nodes }, (_, i) => `n${String(i).padStart(5, '0')}`);
    this.nodes = names.map((name, i) => ({
      name,
      zone: zones === undefined ? undefined : `z${this.zoneOf(i)}`,
    }));
    this.self = names[0] ?? '';
    this.rows = names.map((name, i) => {
      const watched = peers === undefined ? undefined : observedPeers(name, names, peers);
      const targets = Uint16Array.from(
        names.flatMap((peer, j) => (j !== i && (watched?.has(peer) ?? true) ? [j] : [])),
      );
      return { targets, lost: new Uint16Array(targets.length), states: new Uint32Array(targets.length) };
    });
  }

  /** One more minute of the cluster, independent of the one before. */
  draw(faults: readonly Fault[]): void {
    this.#version++;
    this.rows.forEach(({ targets, lost, states }, from) => {
      const own = faults.filter((fault) => this.#mayTouch(fault, from));
      for (let i = 0; i < targets.length; i++) {
        const rate = own.length + faults.length === 0 ? 0 : this.#rateOf(faults, from, targets[i] as number);
        const count = rate === 1 ? this.#sent : this.#drawer(rate)();
        lost[i] = count;
        states[i] = rate === 1 ? SILENT : count >= DEGRADED_LOST ? DEGRADED : REACHABLE;
      }
    });
  }

  /** One more probe of a path is lost, as of the next look. */
  addLoss(path: { readonly from: number; readonly to: number } | undefined): void {
    if (path === undefined) return;
    const { from, to } = path;
    this.#version++;
    const row = this.rows[from];
    const at = row?.targets.indexOf(to) ?? -1;
    if (row === undefined || at < 0) return;
    const lost = (row.lost[at] ?? 0) + 1;
    row.lost[at] = lost;
    row.states[at] = lost >= DEGRADED_LOST ? DEGRADED : REACHABLE;
  }

  #mayTouch(fault: Fault, from: number): boolean {
    return fault.kind !== 'observer' || fault.node === from;
  }

  #rateOf(faults: readonly Fault[], from: number, to: number): number {
    let passes = 1;
    for (const fault of faults) if (this.touches(fault, from, to)) passes *= 1 - fault.rate;
    return 1 - passes;
  }

  touches(fault: Fault, from: number, to: number): boolean {
    const [fromZone, toZone] = [this.zoneOf(from), this.zoneOf(to)];
    switch (fault.kind) {
      case 'node':
        return from === fault.node || to === fault.node;
      case 'observer':
        return from === fault.node;
      case 'pair':
        return (from === fault.from && to === fault.to) || (from === fault.to && to === fault.from);
      case 'zone-pair':
        return (
          (fromZone === fault.from && toZone === fault.to) || (fromZone === fault.to && toZone === fault.from)
        );
      case 'zone':
        return (fromZone === fault.zone) !== (toZone === fault.zone);
    }
  }

  /** Draws how many of a window's probes are lost. */
  #drawer(faultRate: number): () => number {
    const known = this.#drawers.get(faultRate);
    if (known !== undefined) return known;
    const drawer = binomial(this.#sent, 1 - (1 - faultRate) * (1 - this.#noise), this.#random);
    this.#drawers.set(faultRate, drawer);
    return drawer;
  }

  row(node: string): HealthRow {
    return { node, incarnation: 1, version: this.#version, atMs: 0, cells: new Map(), notes: [] };
  }

  ageMs(): number {
    return 0;
  }

  revision(): number {
    return this.#version;
  }

  eachCell(node: string, visit: (cell: IndexedCell) => void): void {
    const { targets, lost, states } = this.rows[Number(node.slice(1))] ?? {
      targets: [],
      lost: [],
      states: [],
    };
    const cell = { peer: 0, states4: 0, states6: 0, sent: this.#sent, lost: 0 };
    for (let i = 0; i < targets.length; i++) {
      cell.peer = targets[i] ?? 0;
      cell.states4 = states[i] ?? 0;
      cell.lost = lost[i] ?? 0;
      visit(cell);
    }
  }

  /** The place that a verdict on the fault has. */
  placeOf(fault: Fault): string {
    const name = (node: number): string => this.nodes[node]?.name ?? '';
    switch (fault.kind) {
      case 'node':
      case 'observer':
        return `${fault.kind} ${name(fault.node)}`;
      case 'pair':
        return `pair ${[name(fault.from), name(fault.to)].sort().join(' ')}`;
      case 'zone-pair':
        return `zone-pair ${[`z${fault.from}`, `z${fault.to}`].sort().join(' ')}`;
      case 'zone':
        return `zone z${fault.zone}`;
    }
  }
}

/** As `SimMatrix.placeOf`: without direction. */
export function placeText(place: FaultPlace): string {
  switch (place.kind) {
    case 'node':
    case 'observer':
      return `${place.kind} ${place.node}`;
    case 'pair':
    case 'zone-pair':
      return `${place.kind} ${[place.from, place.to].sort().join(' ')}`;
    case 'zone':
      return `zone ${place.zone}`;
    case 'path-class':
      return `path-class ${place.pathClass}`;
  }
}

const RANDOM_STEPS = 2 ** 31;

/** Numbers of successes of `n` trials: by walking down the distribution. */
function binomial(n: number, p: number, random: Random): () => number {
  const upTo: number[] = [];
  let [term, sum] = [(1 - p) ** n, 0];
  for (let k = 0; k <= n; k++) {
    sum += term;
    upTo.push(sum);
    term *= ((n - k) / (k + 1)) * (p / (1 - p));
  }
  return () => {
    const u = (random.below(RANDOM_STEPS) + 0.5) / RANDOM_STEPS;
    let k = 0;
    while (k < n && u > (upTo[k] as number)) k++;
    return k;
  };
}

/**
 * Up to five faults that do not hide each other: on nodes, zones and pairs apart, and not at the node that looks, which
 * sees nothing when it is silent itself.
 */
export function drawFaults(matrix: SimMatrix, zones: number | undefined, random: Random): Fault[] {
  const faults: Fault[] = [];
  const taken = new Set([0]);
  const count = 1 + random.below(5);
  if (zones !== undefined && random.oneIn(2)) faults.push(zoneFault(zones, random));
  const [first] = faults;
  const isHidden = (node: number): boolean => first?.kind === 'zone' && matrix.zoneOf(node) === first.zone;
  const node = (): number => {
    for (;;) {
      const one = random.below(matrix.nodes.length);
      if (taken.has(one) || isHidden(one)) continue;
      taken.add(one);
      return one;
    }
  };
  while (faults.length < count) {
    const fault = smallFault(matrix, node, random);
    const ends = fault.kind === 'pair' ? [fault.from, fault.to] : undefined;
    const clear = ends?.every((end) => !isHidden(end)) ?? true;
    const apart =
      first === undefined || ends === undefined || !matrix.touches(first, ends[0] ?? 0, ends[1] ?? 0);
    if (clear && apart && (ends === undefined || !taken.has(ends[1] ?? 0))) faults.push(fault);
    if (ends?.[1] !== undefined) taken.add(ends[1]);
  }
  return faults;
}

const rateFrom = (least: number, random: Random): number =>
  random.oneIn(2) ? 1 : least + ((1 - least) * random.below(1000)) / 1000;

function zoneFault(zones: number, random: Random): Fault {
  const rate = rateFrom(0.1, random);
  // Not our own: cut off with it, we see nothing beyond.
  const from = 1 + random.below(zones - 1);
  if (random.oneIn(2)) return { kind: 'zone', zone: from, rate };
  return { kind: 'zone-pair', from, to: (from + 1 + random.below(zones - 1)) % zones, rate };
}

function smallFault(matrix: SimMatrix, node: () => number, random: Random): Fault {
  const which = random.below(10);
  if (which < 6) return { kind: 'node', node: node(), rate: rateFrom(0.1, random) };
  if (which < 8) return { kind: 'observer', node: node(), rate: rateFrom(0.15, random) };
  const from = node();
  const to = random.pick([...(matrix.rows[from]?.targets ?? [])]);
  return { kind: 'pair', from, to, rate: rateFrom(0.5, random) };
}
