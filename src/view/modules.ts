import { parseTime } from './duration.ts';
import type { Opt } from './types.ts';

/** One row of the agent's own health table: a part of the agent and how it fares. */
export interface ModuleHealth {
  readonly ID?: Opt<{
    readonly Module?: Opt<readonly string[]>;
    readonly Component?: Opt<readonly string[]>;
  }>;
  readonly Level?: Opt<string>;
  readonly Message?: Opt<string>;
  readonly Updated?: Opt<string>;
  readonly Count?: Opt<number>;
}

interface Branch {
  readonly children: Map<string, Branch>;
  leaf: string | undefined;
}

/** Width that a name takes at the deepest level; each level above gets its indentation on top. */
const NAME_WIDTH = 44;
const INDENT = 4;

/** An age in one or two units: `97s`, `3m45s`, `13m`, `5h`, `3d`. */
function shortAge(sinceMs: number): string {
  const seconds = Math.floor(Math.max(0, sinceMs) / 1000);
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return seconds % 60 === 0 ? `${minutes}m` : `${minutes}m${seconds % 60}s`;
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return minutes % 60 === 0 ? `${hours}h` : `${hours}h${minutes % 60}m`;
  return hours < 48 ? `${hours}h` : `${Math.floor(hours / 24)}d`;
}

function grow(root: Branch, path: readonly string[], leaf: string): void {
  let branch = root;
  for (const name of path) {
    let next = branch.children.get(name);
    if (next === undefined) {
      next = { children: new Map(), leaf: undefined };
      branch.children.set(name, next);
    }
    branch = next;
  }
  branch.leaf = leaf;
}

function depth(branch: Branch): number {
  return Math.max(0, ...[...branch.children.values()].map((child) => 1 + depth(child)));
}

function draw(branch: Branch, prefix: string, level: number, deepest: number): string[] {
  const children = [...branch.children.entries()].sort(([a], [b]) => (a < b ? -1 : 1));
  return children.flatMap(([name, child], i) => {
    const last = i === children.length - 1;
    const width = NAME_WIDTH + INDENT * (deepest - level);
    const text =
      child.leaf === undefined ? name : `${name.padEnd(Math.max(width, name.length + 2))}${child.leaf}`;
    const below = draw(child, `${prefix}${last ? '    ' : '│   '}`, level + 1, deepest);
    return [`${prefix}${last ? '└── ' : '├── '}${text}`, ...below];
  });
}

/** `Modules Health`: the counts, or with `verbose` the tree of all parts. */
export function modulesHealth(rows: readonly ModuleHealth[], verbose: boolean, nowMs: number): string {
  const count = (level: string): number => rows.filter((r) => r.Level?.toLowerCase() === level).length;
  if (!verbose) {
    return `Modules Health:\tStopped(${count('stopped')}) Degraded(${count('degraded')}) OK(${count('ok')})\n\n`;
  }
  const root: Branch = { children: new Map(), leaf: undefined };
  for (const r of rows) {
    const path = [...(r.ID?.Module ?? []), ...(r.ID?.Component ?? [])];
    const age = shortAge(nowMs - (parseTime(r.Updated) ?? nowMs));
    grow(root, path, `[${(r.Level ?? '').toUpperCase()}] ${r.Message ?? ''} (${age}, x${r.Count ?? 0})`);
  }
  const [[name, top] = ['', root]] = root.children;
  const lines = [name, ...draw(top, '', 1, depth(root) - 1)];
  return `Modules Health:\t\t${lines.join('\n\t\t')}\n\t\t\n\n`;
}
