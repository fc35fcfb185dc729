import { connect, type Socket } from 'node:net';
import type { MonitorEvent } from '../model/event.ts';
import { SourceError } from './source-error.ts';

export interface EventsOptions {
  /** `NodePaths.eventsSocket`. */
  readonly socketPath: string;
  /** Ends the stream without an error. */
  readonly signal?: AbortSignal | undefined;
  /** Called once the stream is open: events from here on are seen. */
  readonly onOpen?: (() => void) | undefined;
}

/** Longest line that is accepted; an event is a few hundred bytes. */
const MAX_LINE_CHARS = 1 << 20;

function unreachable(socketPath: string, cause: unknown): SourceError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  if (code === 'EACCES' || code === 'EPERM') {
    return new SourceError(`not permitted to read events from ${socketPath}`, {
      code: 'SOURCE_NOT_PERMITTED',
      hint: 'run as root, or as a member of the group that owns the socket',
      cause,
    });
  }
  return new SourceError(`cannot read events from ${socketPath}`, {
    code: 'SOURCE_UNREACHABLE',
    hint: 'is the agent running? start it with `ciliate agent`, or name its folder with --state-dir',
    cause,
  });
}

function opened(socketPath: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    socket.once('error', (cause) => reject(unreachable(socketPath, cause)));
    socket.once('connect', () => {
      socket.removeAllListeners('error');
      resolve(socket);
    });
  });
}

/** Members of each kind that whoever reads events leans on, with their types. */
const PACKET = {
  source: 'number',
  dstEndpoint: 'number',
  ifindex: 'number',
  summary: 'string',
  capture: 'string',
};
const SHAPES: Readonly<Record<MonitorEvent['kind'], Readonly<Record<string, string>>>> = {
  drop: { ...PACKET, reason: 'number' },
  trace: { ...PACKET, observationPoint: 'number' },
  'policy-verdict': { ...PACKET, verdict: 'number' },
  agent: { subtype: 'string' },
  lost: { count: 'number' },
  l7: {
    type: 'string',
    verdict: 'string',
    direction: 'string',
    source: 'object',
    destination: 'object',
    l7: 'object',
  },
};

function isEvent(value: unknown): value is MonitorEvent {
  if (typeof value !== 'object' || value === null || !('kind' in value)) return false;
  const shape = Object.hasOwn(SHAPES, String(value.kind))
    ? SHAPES[value.kind as MonitorEvent['kind']]
    : undefined;
  const members = value as Readonly<Record<string, unknown>>;
  return shape !== undefined && Object.entries(shape).every(([name, type]) => typeof members[name] === type);
}

function parse(line: string, socketPath: string): MonitorEvent {
  const wrong = (cause?: unknown): SourceError =>
    new SourceError(`${socketPath} sent a line that is no event: ${line.slice(0, 80)}`, {
      code: 'SOURCE_BAD_ANSWER',
      hint: 'is this the event socket of an agent of this version?',
      cause,
    });
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw wrong(cause);
  }
  if (!isEvent(value)) throw wrong();
  return value;
}

/** Whole lines of a stream of text. */
async function* linesOf(socket: Socket, socketPath: string): AsyncGenerator<string> {
  let rest = '';
  socket.setEncoding('utf8');
  for await (const part of socket as AsyncIterable<string>) {
    rest += part;
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
    if (rest.length > MAX_LINE_CHARS) {
      throw new SourceError(`${socketPath} sent a line without end`, { code: 'SOURCE_BAD_ANSWER' });
    }
  }
}

/**
 * The node's events from now on, in order; `lost` events say how many are missing and where. Ends when the agent
 * closes the stream or the signal is raised; breaking out of the loop closes the connection.
 * @throws SourceError SOURCE_UNREACHABLE, SOURCE_NOT_PERMITTED, SOURCE_BAD_ANSWER
 */
export async function* monitorEvents(options: EventsOptions): AsyncGenerator<MonitorEvent, void, undefined> {
  const { socketPath, signal } = options;
  if (signal?.aborted) return;
  const socket = await opened(socketPath);
  const abort = (): void => {
    socket.destroy();
  };
  signal?.addEventListener('abort', abort, { once: true });
  try {
    options.onOpen?.();
    for await (const line of linesOf(socket, socketPath)) if (line !== '') yield parse(line, socketPath);
  } catch (cause) {
    if (signal?.aborted) return;
    throw cause instanceof SourceError ? cause : unreachable(socketPath, cause);
  } finally {
    signal?.removeEventListener('abort', abort);
    socket.destroy();
  }
}
