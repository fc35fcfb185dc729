import type {
  FaultKind,
  HealthDiagnosis,
  HealthRow,
  HealthVerdict,
  MatrixView,
  PathReport,
} from '../../model/health.ts';
import { PROBE_KINDS } from '../../model/health.ts';
import type { Instant } from '../clock.ts';
import { type Claim, type ClaimContext, claimOf } from './claims.ts';
import { EdgeStore, LOSS } from './edge-store.ts';
import { follows, gravityOf, mergeClaims } from './merge.ts';
import { noteClaims } from './note-claims.ts';
import { OwnWords } from './own-words.ts';
import { type PeelOptions, peel } from './peel.ts';
import { Standing } from './standing.ts';
import { standingNotes } from './standing-notes.ts';
import { SYMPTOMS, UNDECIDED } from './symptoms.ts';
import { zonesOf } from './zones.ts';

export interface DiagnoserOptions {
  /** A row that was not renewed for so long counts for nothing, and its node is silent. Default 20 s. */
  readonly oldMs?: number | undefined;
}

/** All paths of this node to a peer. */
export type OwnPaths = (peer: string) => readonly PathReport[];

const OLD_MS = 20_000;
/** More than this part of the rows missing leaves too much unseen to call it healthy. */
const SILENT_SHARE = 0.2;
/** Of what states tell: chance cannot do it, so that all that is asked is that the places agree. */
const STATE_PEEL: PeelOptions = { floor: 2e-5, ceiling: 2e-5 };
/** What stands is kept down to this part of the gain that it took. */
const KEEP = { keep: 0.6 };

/** Faults with which traffic still gets through. */
const LESSER: ReadonlySet<FaultKind> = new Set([
  'agent-hung',
  'loss',
  'slow',
  'icmp-filtered',
  'http-filtered',
  'echo-filtered',
]);

/**
 * From the rows of the cluster to what is broken. In steps:
 *
 * 1. rows that are old are left out: what a dead node saw last is no news;
 * 2. what each cell's states come to is a symptom; the places of each symptom, and of plain loss, are found by `peel`;
 * 3. notes of the observers say what the fault is, and in which direction;
 * 4. claims of one fault are made one verdict;
 * 5. verdicts of counts, and of single pairs, must stand for a while before they are told, and fade later than they came.
 */
export class Diagnoser {
  readonly #oldMs: number;
  readonly #store = new EdgeStore();
  readonly #standing = new Standing();
  readonly #words = new OwnWords();

  constructor(options: DiagnoserOptions = {}) {
    this.#oldMs = options.oldMs ?? OLD_MS;
  }

  /** Whether something was found that must stand longer before it is told. */
  get isPending(): boolean {
    return this.#standing.isPending;
  }

  /** @param own the paths of this node to a peer: since when they are as they are */
  diagnose(matrix: MatrixView, own: OwnPaths, at: Instant): HealthDiagnosis {
    const silent = this.#silentNodes(matrix);
    const silentNames = new Set(silent.map(({ node }) => node));
    this.#store.update(matrix, (node) => !silentNames.has(node));
    const zoneByName = new Map(matrix.nodes.map(({ name, zone }) => [name, zone]));
    const context = { nodes: zoneByName.size, zoneOf: (node: string) => zoneByName.get(node) };
    const admitted = this.#claims(matrix, silentNames, at.nowMs).filter((claim) =>
      this.#standing.admits(claim),
    );
    const claims = mergeClaims(admitted, context);
    const standing = this.#standing.take(claims, at, (claim, from) => follows(claim, from, context));
    const verdicts = standing.map(({ claim, sinceMs }) => {
      const verdict = verdictOf(claim, Math.min(sinceMs, ownSinceMs(claim, own) ?? sinceMs));
      // Where there is one family only, it says nothing that a fault is of it.
      return verdict.families.length === 1 && !this.#store.hasBothFamilies(verdict.place)
        ? { ...verdict, families: [] }
        : verdict;
    });
    verdicts.sort((a, b) => gravityOf(a.fault) - gravityOf(b.fault) || b.confidence - a.confidence);
    return { state: this.#stateOf(matrix, verdicts, own, silent.length), verdicts, silent, atMs: at.wallMs };
  }

  #silentNodes(matrix: MatrixView): HealthDiagnosis['silent'] {
    return matrix.nodes.flatMap(({ name: node }) => {
      const ageMs = matrix.ageMs(node);
      return ageMs === undefined || ageMs > this.#oldMs ? [{ node, ageMs }] : [];
    });
  }

  #claims(matrix: MatrixView, silent: ReadonlySet<string>, nowMs: number): Claim[] {
    const { nodes } = matrix;
    const zones = zonesOf(nodes);
    const rowOf = (node: number): HealthRow | undefined => {
      const name = nodes[node]?.name ?? '';
      return silent.has(name) ? undefined : matrix.row(name);
    };
    const context: ClaimContext = {
      names: nodes.map(({ name }) => name),
      zones: zones.names,
      store: this.#store,
      notes: (node) => {
        const row = this.#store.isAside(node) ? undefined : rowOf(node);
        return row === undefined ? [] : standingNotes(row);
      },
      ownWord: (node) => {
        const row = rowOf(node);
        return row === undefined ? [] : this.#words.of(row, nowMs);
      },
      observersOf: (node) => this.#store.observersOf(node),
    };
    const any = this.#store.any();
    const claims: Claim[] = [];
    const find = (symptom: number, options: PeelOptions): void => {
      const found = peel(this.#store.graph(symptom), { ...options, zones: zones.ofNode });
      for (const finding of found) claims.push(claimOf(finding, symptom, context));
    };
    SYMPTOMS.forEach((_, symptom) => {
      if ((any & (1 << symptom)) !== 0) find(symptom, STATE_PEEL);
    });
    find(LOSS, KEEP);
    claims.push(...noteClaims(claims, context));
    return claims;
  }

  #stateOf(
    matrix: MatrixView,
    verdicts: readonly HealthVerdict[],
    own: OwnPaths,
    silent: number,
  ): HealthDiagnosis['state'] {
    if (verdicts.some(({ fault }) => !LESSER.has(fault))) return 'broken';
    if (verdicts.length > 0) return 'degraded';
    if (silent > SILENT_SHARE * matrix.nodes.length) return 'unknown';
    if ((this.#store.any() & UNDECIDED) !== 0) return 'unknown';
    // A row tells of others only: a node alone is what its own paths are.
    if (matrix.nodes.length === 1) return areWell(own(matrix.self)) ? 'healthy' : 'unknown';
    return this.#store.everybodySeen(matrix) ? 'healthy' : 'unknown';
  }
}

/** Whether something is known, and nothing amiss is. */
function areWell(paths: ReturnType<OwnPaths>): boolean {
  const known = paths.filter(({ state }) => state !== 'unknown');
  return known.length > 0 && known.every(({ state }) => state === 'reachable');
}

function verdictOf(claim: Claim, sinceMs: number): HealthVerdict {
  const { fault, place, lossPoint, confidence, observers, sent, lost, against } = claim;
  const kinds = [...claim.kinds].sort((a, b) => a - b).map((kind) => PROBE_KINDS[kind]?.name ?? '');
  const families = [...claim.families].sort();
  const evidence = { observers, sent, lost, against };
  return { fault, place, kinds, families, lossPoint, sinceMs, confidence, evidence };
}

/** Since when our own paths that the claim is of do not do well. */
function ownSinceMs({ place, kinds }: Claim, own: OwnPaths): number | undefined {
  const peer = place.kind === 'node' ? place.node : place.kind === 'pair' ? place.to : undefined;
  const bad = (peer === undefined ? [] : own(peer)).filter(
    ({ path, state }) =>
      (state === 'unreachable' || state === 'degraded') && (kinds.size === 0 || kinds.has(path.kind)),
  );
  return bad.length === 0 ? undefined : Math.min(...bad.map(({ sinceMs }) => sinceMs));
}
