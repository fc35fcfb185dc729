import type { NodeStates } from './state/node-states.ts';
import type { PathTracker } from './state/path-tracker.ts';
import { nodeStatus, SecondTexts, type StatusFrame, statusFrame, statusNodes } from './status-response.ts';
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
  #rowOf: ReadonlyMap<PathTracker, TextRow> = new Map();
  #states: NodeStates | undefined;
  /** Whose `brief` may say something else than the texts. */
  #changed: PathTracker[] = [];
  readonly #note = (tracker: PathTracker): void => {
    this.#changed.push(tracker);
  };

  /** Writes anew what has changed. @returns how many nodes that was */
  refresh(input: StatusTextInput): number {
    const states = this.#states;
    if (input.layout !== this.#layout || states === undefined) return this.#begin(input);
    const rows = new Set<TextRow>();
    for (const tracker of this.#takeChanged()) {
      tracker.whenBriefChanges(this.#note);
      const row = this.#rowOf.get(tracker);
      if (row !== undefined) rows.add(row);
    }
    const write = nodeWriter(states);
    for (const row of rows) row.text = write(row.node);
    return rows.size;
  }

  #takeChanged(): PathTracker[] {
    const changed = this.#changed;
    this.#changed = [];
    return changed;
  }

  #begin(input: StatusTextInput): number {
    const states = input.states();
    const write = nodeWriter(states);
    const rowOf = new Map<PathTracker, TextRow>();
    this.#layout = input.layout;
    this.#states = states;
    this.#changed = [];
    this.#rows = statusNodes(input.view).map((node) => {
      const row = { node, text: write(node) };
      for (const { icmp, http } of node.targets.map((target) => states.of(target))) {
        for (const tracker of [icmp, http]) {
          if (tracker === undefined) continue;
          tracker.whenBriefChanges(this.#note);
          rowOf.set(tracker, row);
        }
      }
      return row;
    });
    this.#rowOf = rowOf;
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
    const whole = Buffer.allocUnsafe(bytes);
    let at = 0;
    for (const part of parts) at += part.copy(whole, at);
    return whole;
  }
}

function nodeWriter(states: NodeStates): (node: HealthNode) => Buffer {
  const times = new SecondTexts();
  return (node) => Buffer.from(JSON.stringify(nodeStatus(node, states, times)));
}
