import type { HealthNode } from './targets.ts';

/** The cluster's nodes as last seen. */
export interface NodeView {
  /** Name of the node we run on; undefined until it is known. */
  readonly self: string | undefined;
  readonly nodes: readonly HealthNode[];
  /** Since when (realtime ms) the list cannot be renewed, and why; undefined while it can. */
  readonly stale: { readonly sinceMs: number; readonly reason: string } | undefined;
}

/** Where the node list comes from. It never fails: what cannot be renewed stays, and says since when. */
export interface NodeProvider {
  start(): Promise<void>;
  /** May be called twice. */
  stop(): Promise<void>;
  view(): NodeView;
  /** Calls back after each change. */
  onChange(listener: () => void): void;
}
