import { createConnection, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { NotPermittedError, SystemError } from '../../src/base/errors.ts';
import type { MonitorEvent } from '../../src/model/event.ts';

function failure(path: string, cause: NodeJS.ErrnoException): Error {
  if (cause.code === 'EACCES' || cause.code === 'EPERM') {
    return new NotPermittedError(`not permitted to read events from ${path}`, {
      code: 'EVENTS_NOT_PERMITTED',
      cause,
    });
  }
  return new SystemError(`cannot read events from ${path}`, {
    code: 'EVENTS_UNREACHABLE',
    hint: 'is the agent running? name its state folder with --state-dir',
    cause,
  });
}

/**
 * Events of the agent as they come, one JSON object a line, until the agent closes or `signal` fires.
 * @throws SystemError code EVENTS_UNREACHABLE, EVENTS_BROKEN · NotPermittedError code EVENTS_NOT_PERMITTED
 */
export async function* readEvents(path: string, signal: AbortSignal): AsyncGenerator<MonitorEvent> {
  const socket = createConnection({ path });
  const close = (): void => {
    socket.destroy();
  };
  signal.addEventListener('abort', close, { once: true });
  try {
    for await (const line of lines(path, socket, signal)) yield parseEvent(path, line);
  } finally {
    signal.removeEventListener('abort', close);
    close();
  }
}

async function* lines(path: string, socket: Socket, signal: AbortSignal): AsyncGenerator<string> {
  try {
    for await (const line of createInterface({ input: socket })) if (line !== '') yield line;
  } catch (error) {
    if (!signal.aborted) throw failure(path, error as NodeJS.ErrnoException);
  }
}

function parseEvent(path: string, line: string): MonitorEvent {
  try {
    return JSON.parse(line) as MonitorEvent;
  } catch (cause) {
    throw new SystemError(`a line of ${path} is no JSON: ${line.slice(0, 80)}`, {
      code: 'EVENTS_BROKEN',
      cause,
    });
  }
}
