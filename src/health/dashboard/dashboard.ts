import type { ServerResponse } from 'node:http';
import { gzip } from 'node:zlib';
import type { Context, Hono } from 'hono';
import { changeAnswer } from '../api/answers.ts';
import { diagnosisAnswer } from '../api/diagnosis-answer.ts';
import type { HealthReader } from '../api/routes.ts';
import type { Clock } from '../clock.ts';
import { EventFeed } from '../events.ts';
import type { DashboardAssets } from './assets.ts';
import { MatrixPacker } from './matrix-packer.ts';
import { PathSeries } from './series.ts';

export interface DashboardDeps {
  readonly reader: HealthReader;
  readonly clock: Clock;
  /** Asked for when the page is first wanted. */
  readonly assets: () => Promise<DashboardAssets>;
  /** What a follower of the events may leave unread before it is cut off. Default 8 MiB. */
  readonly backlogBytes?: number | undefined;
}

/** Of all answers: nobody may guess types, frame us, or learn where the reader came from. */
export const SECURITY_HEADERS = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
} as const;

const FOR_EVER = 'public, max-age=31536000, immutable';
/** Smaller answers are not worth it. */
const GZIP_LEAST_BYTES = 16 * 1024;

function zipped(body: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Promise((resolve, reject) => {
    gzip(body, { level: 1 }, (error, result) =>
      error === null ? resolve(new Uint8Array(result)) : reject(error),
    );
  });
}

async function answerBytes(
  context: Context,
  body: Uint8Array<ArrayBuffer>,
  headers: Readonly<Record<string, string>>,
): Promise<Response> {
  const accepts = context.req.header('accept-encoding')?.includes('gzip') === true;
  const all = { ...SECURITY_HEADERS, vary: 'accept-encoding', ...headers };
  if (!accepts || body.length < GZIP_LEAST_BYTES) return context.body(body, 200, all);
  return context.body(await zipped(body), 200, { ...all, 'content-encoding': 'gzip' });
}

/** What @hono/node-server gives beside a request; a test asks without it. */
interface NodeBindings {
  readonly outgoing?: ServerResponse;
}

/** Ends a connection at once, whatever was written to it: its reader does not read. */
function endOf(context: Context): void {
  (context.env as NodeBindings | undefined)?.outgoing?.destroy();
}

/** The page, its files, and what it follows: read only. */
export class Dashboard {
  readonly #deps: DashboardDeps;
  readonly #packer: MatrixPacker;
  readonly #series: PathSeries;
  readonly #feed: EventFeed;
  #assets: Promise<DashboardAssets> | undefined;

  constructor(deps: DashboardDeps) {
    const { reader, clock } = deps;
    const { health, words } = reader.deps;
    this.#deps = deps;
    this.#packer = new MatrixPacker({ matrix: () => health.matrix(), clock });
    this.#series = new PathSeries({
      peers: () => reader.names(),
      reports: (peer) => health.reports(peer),
      clock,
    });
    this.#feed = new EventFeed({
      packer: this.#packer,
      clock,
      onChange: (listener) => health.onChange(listener),
      diagnosis: () => {
        const found = health.diagnosis?.();
        return found === undefined ? undefined : diagnosisAnswer(reader.self, found, words);
      },
      changeAnswer,
      backlogBytes: deps.backlogBytes,
    });
  }

  /** Begins to keep the series of paths; it begins by itself when they are first asked for. */
  record(): void {
    this.#series.start();
  }

  /** Followers of the events that were cut off because they did not read. */
  get followersCut(): number {
    return this.#feed.cut;
  }

  /** Ends the streams. May be called twice. */
  stop(): void {
    this.#feed.stop();
    this.#series.stop();
  }

  /** Adds the page at `/` and its routes. */
  addTo(app: Hono): void {
    app.get('/', (context) => this.#page(context));
    app.get('/assets/:file', (context) => this.#file(context));
    app.get('/v1beta/matrix/packed', (context) => {
      const headers = { 'content-type': 'application/octet-stream', 'cache-control': 'no-store' };
      return answerBytes(context, this.#packer.snapshot(), headers);
    });
    app.get('/v1beta/events', (context) => this.#events(context));
    app.get('/v1beta/series', (context) => {
      const peer = this.#deps.reader.node(context, 'peer');
      this.#series.start();
      if (peer === undefined)
        return context.json('which peer? ask for series?peer=NODE', 400, SECURITY_HEADERS);
      return context.json(this.#series.answer(peer), 200, {
        ...SECURITY_HEADERS,
        'cache-control': 'no-store',
      });
    });
  }

  #built(): Promise<DashboardAssets> {
    // A build that failed is tried again at the next request.
    this.#assets ??= this.#deps.assets().catch((error: unknown) => {
      this.#assets = undefined;
      throw error;
    });
    return this.#assets;
  }

  async #page(context: Context): Promise<Response> {
    const { page, policy } = await this.#built();
    return context.body(page, 200, {
      ...SECURITY_HEADERS,
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': policy,
      'cache-control': 'no-cache',
    });
  }

  async #file(context: Context): Promise<Response> {
    const file = (await this.#built()).files.get(context.req.param('file') ?? '');
    if (file === undefined) return context.json('no such file', 404, SECURITY_HEADERS);
    return answerBytes(context, file.body, { 'content-type': file.type, 'cache-control': FOR_EVER });
  }

  #events(context: Context): Response {
    const headers = {
      ...SECURITY_HEADERS,
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    };
    // Hono drops the body of an answer to HEAD without ending it: a stream would have its place for ever.
    if (context.req.method === 'HEAD') return context.body(null, 200, headers);
    const stream = this.#feed.stream(() => endOf(context));
    if (stream === undefined) {
      return context.json('too many follow already', 503, { ...SECURITY_HEADERS, 'retry-after': '10' });
    }
    return context.body(stream, 200, headers);
  }
}
