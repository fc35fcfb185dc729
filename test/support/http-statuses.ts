import { once } from 'node:events';
import type { Socket } from 'node:net';

const ANSWER_MS = 5000;

/** Sends a text over a connection and reads `count` statuses of HTTP, or those that came until it ended. */
export async function statuses(socket: Socket, text: string, count: number): Promise<readonly number[]> {
  let answer = '';
  const found = (): number[] => [...answer.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, code]) => Number(code));
  socket.write(text);
  const deadline = AbortSignal.timeout(ANSWER_MS);
  const ended = Promise.race(['end', 'close'].map((event) => once(socket, event, { signal: deadline }))).then(
    () => false,
    () => false,
  );
  while (found().length < count) {
    const more = once(socket, 'data', { signal: deadline }).then(
      ([bytes]: unknown[]) => {
        answer += String(bytes);
        return true;
      },
      () => false,
    );
    if (!(await Promise.race([more, ended]))) break;
  }
  return found();
}
