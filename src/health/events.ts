import type { PathChange } from '../model/health.ts';
import type { Clock } from './clock.ts';
import type { MatrixPacker } from './dashboard/matrix-packer.ts';

/**
 * Events of the health agent as a browser's EventSource takes them:
 *
 * - `hello`: the stream has begun; whoever took everything before `rows-at-ms` takes it anew
 * - `nodes`: the nodes are others; likewise
 * - `rows`: rows that changed, `src/model/packed-rows.ts` in base64
 * - `path-change`: changes of paths of this node; `left-out` counts those of a storm
 * - `diagnosis`: the whole diagnosis, when it has changed
 * - `beat`: nothing happened, but we are here
 */
export type EventName = 'hello' | 'nodes' | 'rows' | 'path-change' | 'diagnosis' | 'beat';

export interface EventFeedDeps {
  readonly packer: MatrixPacker;
  readonly clock: Clock;
  readonly onChange: (listener: (change: PathChange) => void) => void;
  /** As it is told; undefined: nothing judges here. Its `at` alone is no news. */
  readonly diagnosis: () => { readonly at: string } | undefined;
  readonly changeAnswer: (change: PathChange) => object;
  readonly backlogBytes?: number | undefined;
}

const TICK_MS = 500;
const BEAT_MS = 2000;
const RETRY_MS = 1000;
const DIAGNOSE_MS = 2000;
const CHANGES_MAX = 200;
/** Browsers at once. */
const FOLLOWERS_MAX = 32;
/** What a browser that does not read may leave in our memory; then it is cut off, and begins anew. */
const BACKLOG_BYTES = 8 * 1024 * 1024;

type Send = (event: string) => void;

interface Follower {
  /** Lets what was sent be read, and ends the stream then. */
  readonly close: () => void;
  /** Ends the connection, and with it what was not read. */
  readonly cut: () => void;
}

function eventText(name: EventName, text: string): string {
  return `event: ${name}\ndata: ${text}\n\n`;
}

/** Tells all followers what changes; does nothing while there is none. */
export class EventFeed {
  readonly #deps: EventFeedDeps;
  readonly #followers = new Map<Send, Follower>();
  #cut = 0;
  #changes: PathChange[] = [];
  #leftOut = 0;
  #diagnosis = '';
  #diagnosedMs = 0;
  #toldMs = 0;
  /** Realtime at which rows were told last. */
  #rowsAtMs = 0;
  #cancelTick: (() => void) | undefined;

  constructor(deps: EventFeedDeps) {
    this.#deps = deps;
    deps.onChange((change) => this.#changed(change));
  }

  #changed(change: PathChange): void {
    if (this.#followers.size === 0) return;
    if (this.#changes.length < CHANGES_MAX) this.#changes.push(change);
    else this.#leftOut++;
  }

  get followers(): number {
    return this.#followers.size;
  }

  /** Followers that did not read, since the start. */
  get cut(): number {
    return this.#cut;
  }

  /**
   * A stream of events for one browser; undefined: there are too many already.
   * @param disconnect ends its connection: a reader that does not read would never see the stream's end
   */
  stream(disconnect: () => void): ReadableStream<Uint8Array> | undefined {
    if (this.#followers.size >= FOLLOWERS_MAX) return undefined;
    const encoder = new TextEncoder();
    let send: Send = () => undefined;
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          send = (event) => {
            if ((controller.desiredSize ?? 0) > 0) controller.enqueue(encoder.encode(event));
            else this.#cutOff(send);
          };
          this.#follow(send, {
            close: () => controller.close(),
            cut: () => {
              controller.close();
              disconnect();
            },
          });
        },
        cancel: () => this.#drop(send),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: this.#deps.backlogBytes ?? BACKLOG_BYTES }),
    );
  }

  #follow(send: Send, follower: Follower): void {
    this.#followers.set(send, follower);
    send(`retry: ${RETRY_MS}\n${eventText('hello', JSON.stringify({ 'rows-at-ms': this.#rowsAtMs }))}`);
    const diagnosis = this.#deps.diagnosis();
    if (diagnosis !== undefined) send(eventText('diagnosis', JSON.stringify(diagnosis)));
    if (this.#cancelTick !== undefined) return;
    this.#toldMs = this.#deps.clock.nowMs();
    this.#scheduleTick();
  }

  #cutOff(send: Send): void {
    const follower = this.#followers.get(send);
    if (follower === undefined) return;
    this.#cut++;
    this.#drop(send);
    follower.cut();
  }

  #drop(send: Send): void {
    this.#followers.delete(send);
    if (this.#followers.size > 0) return;
    this.#cancelTick?.();
    this.#cancelTick = undefined;
    this.#changes = [];
    this.#leftOut = 0;
  }

  /** Ends all streams. May be called twice. */
  stop(): void {
    for (const [send, { close }] of [...this.#followers]) {
      this.#drop(send);
      close();
    }
  }

  #scheduleTick(): void {
    this.#cancelTick = this.#deps.clock.after(TICK_MS, () => {
      this.#scheduleTick();
      this.#tick();
    });
  }

  #tick(): void {
    const nowMs = this.#deps.clock.nowMs();
    const text = [this.#rowsEvent(), this.#changesEvent(), this.#diagnosisEvent()].join('');
    if (text === '' && nowMs - this.#toldMs < BEAT_MS) return;
    this.#toldMs = nowMs;
    const event = text === '' ? eventText('beat', this.#beat()) : text;
    for (const send of [...this.#followers.keys()]) send(event);
  }

  #beat(): string {
    return JSON.stringify({ 'at-ms': this.#deps.clock.wallMs() });
  }

  #rowsEvent(): string {
    const news = this.#deps.packer.news();
    if (news === undefined) return '';
    this.#rowsAtMs = this.#deps.clock.wallMs();
    if (news.kind === 'nodes') return eventText('nodes', this.#beat());
    return eventText('rows', Buffer.from(news.message).toString('base64'));
  }

  #changesEvent(): string {
    if (this.#changes.length === 0) return '';
    const changes = this.#changes.map((change) => this.#deps.changeAnswer(change));
    const text = JSON.stringify({ changes, 'left-out': this.#leftOut });
    this.#changes = [];
    this.#leftOut = 0;
    return eventText('path-change', text);
  }

  #diagnosisEvent(): string {
    const nowMs = this.#deps.clock.nowMs();
    if (nowMs - this.#diagnosedMs < DIAGNOSE_MS) return '';
    this.#diagnosedMs = nowMs;
    const diagnosis = this.#deps.diagnosis();
    const text = diagnosis === undefined ? '' : JSON.stringify({ ...diagnosis, at: '' });
    if (text === this.#diagnosis) return '';
    this.#diagnosis = text;
    return eventText('diagnosis', JSON.stringify(diagnosis));
  }
}
