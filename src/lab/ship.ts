import { request } from 'node:http';

/** How a request ended. A time-out is the sign of packets that were dropped, a refusal of a missing listener. */
export type ShipOutcome =
  | { readonly kind: 'answer'; readonly status: number; readonly body: string }
  | { readonly kind: 'timeout'; readonly timeoutMs: number }
  | { readonly kind: 'refused'; readonly code: string };

const MAX_BODY_BYTES = 64 * 1024;

/** Sends one HTTP request on a connection of its own, with one deadline for all of it. */
export function sendShip(method: string, url: string, timeoutMs: number): Promise<ShipOutcome> {
  return new Promise((resolve) => {
    const outgoing = request(url, { method, agent: false, headers: { connection: 'close' } });
    let over = false;
    const finish = (outcome: ShipOutcome): void => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      outgoing.destroy();
      resolve(outcome);
    };
    const timer = setTimeout(() => finish({ kind: 'timeout', timeoutMs }), timeoutMs);
    outgoing.on('error', (error) =>
      finish({ kind: 'refused', code: 'code' in error ? String(error.code) : error.message }),
    );
    outgoing.on('response', (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => {
        if (body.length < MAX_BODY_BYTES) body += part;
      });
      response.on('end', () => finish({ kind: 'answer', status: response.statusCode ?? 0, body }));
    });
    outgoing.end();
  });
}
