import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { silentLog } from '../../src/base/log.ts';
import {
  closeAppServer,
  createAppServer,
  createDashboardApp,
  createHealthReader,
  Dashboard,
  type Health,
  type HealthMetrics,
  loadDashboardAssets,
  systemClock,
} from '../../src/health/index.ts';
import type { PackedCell, PackedMatrix } from '../../src/health/mesh/index.ts';
import type { HealthDiagnosis, HealthRow, PathChange, PathReport } from '../../src/model/health.ts';

/** What a test says of a pair. */
export interface RigCell {
  readonly states4: number;
  readonly rttNs: number;
  readonly sent: number;
  readonly lost: number;
}

export const GOOD: RigCell = { states4: 0b0101, rttNs: 120_000, sent: 120, lost: 0 };
export const BAD: RigCell = { states4: 0b1111, rttNs: 0, sent: 120, lost: 120 };
export const PARTLY: RigCell = { states4: 0b1101, rttNs: 4_200_000, sent: 120, lost: 31 };

interface RigRow {
  version: number;
  readonly cells: (RigCell | undefined)[];
}

/** A health agent whose knowledge a test makes up; all that serves it is real. */
export class DashboardRig {
  names: readonly string[];
  backlogBytes: number | undefined;
  zones: readonly (string | undefined)[] = [];
  diagnosis: HealthDiagnosis | undefined;
  reports: readonly PathReport[] = [];
  changes: PathChange[] = [];
  readonly #rows = new Map<string, RigRow>();
  readonly #listeners: ((change: PathChange) => void)[] = [];
  #server: Server | undefined;
  #dashboard: Dashboard | undefined;
  #port = 0;

  constructor(
    names: readonly string[],
    cell: (from: number, to: number) => RigCell | undefined = () => GOOD,
  ) {
    this.names = names;
    names.forEach((name, from) => {
      this.#rows.set(name, {
        version: 1,
        cells: names.map((_, to) => (from === to ? undefined : cell(from, to))),
      });
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/`;
  }

  get port(): number {
    return this.#port;
  }

  get followersCut(): number {
    return this.#dashboard?.followersCut ?? 0;
  }

  set(from: number, to: number, cell: RigCell): void {
    const row = this.#rows.get(this.names[from] ?? '');
    if (row === undefined) return;
    row.cells[to] = cell;
    row.version++;
  }

  change(change: PathChange): void {
    this.changes.push(change);
    for (const listener of this.#listeners) listener(change);
  }

  matrix(): PackedMatrix {
    const { names, zones } = this;
    const cell: PackedCell = { peer: 0, changed: 0, states4: 0, states6: 0, rttNs: 0, sent: 0, lost: 0 };
    return {
      self: names[0] ?? '',
      nodes: names.map((name, i) => ({ name, zone: zones[i] })),
      row: (node) => this.#row(node),
      revision: () => 1,
      ageMs: (node) => (this.#rows.has(node) ? 0 : undefined),
      eachCell: (node, visit) => {
        this.#rows.get(node)?.cells.forEach((one, peer) => {
          if (one !== undefined && peer < names.length) visit(Object.assign(cell, one, { peer }));
        });
      },
    };
  }

  #row(node: string): HealthRow | undefined {
    const row = this.#rows.get(node);
    if (row === undefined) return undefined;
    const cells = new Map(
      row.cells.flatMap((cell, to) => {
        const peer = this.names[to] ?? '';
        return cell === undefined
          ? []
          : [[peer, { ...cell, peer, states: { 4: cell.states4, 6: 0 } }] as const];
      }),
    );
    return { node, incarnation: 1, version: row.version, atMs: Date.now(), cells, notes: [] };
  }

  #health(): Health {
    const part: Partial<Health> = {
      nodes: () => ({
        self: this.names[0],
        nodes: this.names.map((name) => ({ name, targets: [] })),
        stale: undefined,
      }),
      matrix: () => this.matrix(),
      reports: (peer) => this.reports.filter(({ path }) => peer === undefined || path.peer === peer),
      history: () => this.changes,
      onChange: (listener) => void this.#listeners.push(listener),
      diagnosis: () => this.diagnosis ?? { state: 'unknown', verdicts: [], silent: [], atMs: Date.now() },
    };
    return part as Health;
  }

  /** Listens on loopback; after a stop at the same port again. */
  async start(): Promise<void> {
    const wallMs = (): number => Date.now();
    const health = this.#health();
    const metrics: HealthMetrics = { contentType: 'text/plain', text: () => Promise.resolve('metrics 1\n') };
    const reader = createHealthReader({ health, wallMs, uptimeMs: () => 60_000 });
    const { backlogBytes } = this;
    const dashboard = new Dashboard({
      reader,
      clock: systemClock,
      assets: loadDashboardAssets,
      backlogBytes,
    });
    const app = createDashboardApp({
      dashboard,
      reader,
      hosts: () => ['n1.example'],
      metrics,
      log: silentLog,
    });
    const server = createAppServer(app, 1000);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#port, '127.0.0.1', resolve);
    });
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
    this.#dashboard = dashboard;
  }

  /** May be called twice. */
  async stop(): Promise<void> {
    this.#dashboard?.stop();
    if (this.#server !== undefined) await closeAppServer(this.#server);
    this.#server = undefined;
  }
}

export const nodeNames = (count: number): string[] => Array.from({ length: count }, (_, i) => `n${i + 1}`);
