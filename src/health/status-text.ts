import type { NodeStates } from './state/node-states.ts';
import type { PathTracker } from './state/path-tracker.ts';
import { nodeStatus, type StatusFrame, statusFrame, statusNodes } from './status-response.ts';
import type { HealthNode } from './targets.ts';

/** What the status is made of; `states` is asked for only when `layout` has changed. */
export interface StatusTextInput extends StatusFrame {
  /** Another number whenever nodes or paths have come or gone. */
  readonly layout: number;
  readonly states: () => NodeStates;
}

interface TextRow {
  readonly node: HealthNode;
  text: Buffer;
}

const COMMA = Buffer.from(',');

/**
 * The text of `GET /v1beta/status`, made of one text a node that is kept: of 5,000 nodes only those are written anew of
 * which a path says something else than the last time.
 */
export class StatusText {
  #layout: number | undefined;
  #rows: TextRow[] = [];
  #states: NodeStates | undefined;
  /** Whose `brief` the texts hold, the index of its row, and which it was: side by side, for each answer reads them all. */
  #trackers: PathTracker[] = [];
  #rowOf = new Uint32Array(0);
  #versions = new Uint32Array(0);

  /** Writes anew what has changed. @returns how many nodes that was */
  refresh(input: StatusTextInput): number {
    const states = this.#states;
    if (input.layout !== this.#layout || states === undefined) return this.#begin(input);
    const changed = new Set<number>();
    for (let i = 0; i < this.#trackers.length; i++) {
      const version = (this.#trackers[i] as PathTracker).briefVersion;
      if (this.#versions[i] === version) continue;
      this.#versions[i] = version;
      changed.add(this.#rowOf[i] as number);
    }
    for (const index of changed) {
      const row = this.#rows[index];
      if (row !== undefined) row.text = textOf(row.node, states);
    }
    return changed.size;
  }

  #begin(input: StatusTextInput): number {
    const states = input.states();
    this.#layout = input.layout;
    this.#states = states;
    const rowOf: number[] = [];
    this.#trackers = [];
    this.#rows = statusNodes(input.view).map((node, index) => {
      for (const tracker of node.targets.flatMap((target) => Object.values(states.of(target)))) {
        if (tracker === undefined) continue;
        this.#trackers.push(tracker);
        rowOf.push(index);
      }
      return { node, text: textOf(node, states) };
    });
    this.#rowOf = Uint32Array.from(rowOf);
    this.#versions = Uint32Array.from(this.#trackers, ({ briefVersion }) => briefVersion);
    return this.#rows.length;
  }

  /** The whole as JSON in UTF-8. */
  text(input: StatusTextInput): Buffer<ArrayBuffer> {
    this.refresh(input);
    const frame = JSON.stringify(statusFrame(input)).slice(0, -1);
    const parts: Buffer[] = [Buffer.from(`${frame},"nodes":[`)];
    for (const [i, { text }] of this.#rows.entries()) {
      if (i > 0) parts.push(COMMA);
      parts.push(text);
    }
    parts.push(Buffer.from(']}'));
    const bytes = parts.reduce((sum, { length }) => sum + length, 0);
    const whole = Buffer.alloc(bytes);
    let at = 0;
    for (const part of parts) at += part.copy(whole, at);
    return whole;
  }
}

function textOf(node: HealthNode, states: NodeStates): Buffer {
  return Buffer.from(JSON.stringify(nodeStatus(node, states)));
}
