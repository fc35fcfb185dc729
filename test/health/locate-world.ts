import {
  type HealthCell,
  type HealthRow,
  type MatrixView,
  type PathState,
  PathStates,
  PROBE_KINDS,
  type RowNote,
} from '../../src/model/health.ts';

/** States of kinds by name; those not named are reachable. */
export type Seen = Readonly<Record<string, PathState>>;

export interface SeenCell {
  readonly states?: Seen | undefined;
  readonly states6?: Seen | undefined;
  readonly sent?: number | undefined;
  readonly lost?: number | undefined;
}

export function word(seen: Seen): number {
  return PROBE_KINDS.reduce((bits, { name, pathClass }, kind) => {
    const state = seen[name] ?? seen[pathClass] ?? seen['*'] ?? 'reachable';
    return (bits | (PathStates[state] << (2 * kind))) >>> 0;
  }, 0);
}

export const DEAD: Seen = { '*': 'unreachable' };

/** A cluster as a test says it is. Every node sees every other one well but where `see` tells otherwise. */
export class World implements MatrixView {
  readonly nodes: readonly { readonly name: string; readonly zone: string | undefined }[];
  self: string;
  /** What an observer tells of a peer; undefined: it does not observe it. */
  see: (from: string, to: string) => SeenCell | undefined = () => ({});
  notes: (from: string) => readonly RowNote[] = () => [];
  /** Since a row's notes were taken, ms. */
  notesAge: (node: string) => number = () => 500;
  /** Of a row: how many changes ago it was told; it tells what is so now all the same. */
  behind: (node: string) => number = () => 0;
  /** Of a row; undefined: never taken. */
  age: (node: string) => number | undefined = () => 500;
  #version = 1;

  constructor(nodes: readonly string[], zone: (node: string) => string | undefined = () => undefined) {
    this.nodes = nodes.map((name) => ({ name, zone: zone(name) }));
    this.self = nodes[0] ?? '';
  }

  /** What rows tell has changed. */
  changed(): this {
    this.#version++;
    return this;
  }

  row(node: string): HealthRow | undefined {
    if (this.age(node) === undefined) return undefined;
    const cells = new Map<string, HealthCell>();
    for (const { name: peer } of this.nodes) {
      if (peer === node && this.nodes.length > 1) continue;
      const seen = this.see(node, peer);
      if (seen === undefined) continue;
      const states = { 4: word(seen.states ?? {}), 6: seen.states6 === undefined ? 0 : word(seen.states6) };
      cells.set(peer, { peer, states, rttNs: 200_000, sent: seen.sent ?? 60, lost: seen.lost ?? 0 });
    }
    return {
      node,
      incarnation: 1,
      version: this.#version - this.behind(node),
      atMs: 0,
      cells,
      notes: this.notes(node),
      notesAgeMs: this.notesAge(node),
    };
  }

  ageMs(node: string): number | undefined {
    return node === this.self ? 0 : this.age(node);
  }
}

export function names(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `n${String(i + 1).padStart(2, '0')}`);
}
