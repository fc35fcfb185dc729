import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

/** Exit code of a deathstar whose exhaust port was hit. */
export const EXPLODED = 2;
export const DEATHSTAR_PORT = 80;
/** Long enough that somebody who looks sees it down. */
const RESTART_PAUSE_MS = 1000;

const PANIC = `Panic: deathstar exploded

goroutine 1 [running]:
main.chainReaction(0xc0000a8060, 0x2, 0x4)
        /deathstar/reactor.go:77 +0x4d
main.exhaustPort(0xc0000b2000, 0xc0000a8060)
        /deathstar/port.go:9 +0x19
main.main()
        /deathstar/main.go:5 +0x85
`;

function answer(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

function createDeathstar(onExplode: () => void): Server {
  return createServer((request, response) => {
    const route = `${request.method} ${request.url}`;
    request.resume();
    if (route === 'POST /v1/request-landing') return answer(response, 200, 'Ship landed\n');
    if (route === 'GET /v1/') return answer(response, 200, 'deathstar: request-landing, exhaust-port\n');
    if (route === 'PUT /v1/exhaust-port') {
      response.on('finish', onExplode);
      return answer(response, 503, PANIC);
    }
    return answer(response, 404, `no ${route} on this deathstar\n`);
  });
}

/**
 * Serves landings on every address of both families until somebody hits the exhaust port or `signal` fires.
 * @returns EXPLODED or 0
 */
export async function serveDeathstar(port: number, signal: AbortSignal): Promise<number> {
  let exploded = false;
  const server = createDeathstar(() => {
    exploded = true;
    process.stderr.write(PANIC);
    server.close();
    server.closeAllConnections();
  });
  server.listen({ port, host: '::', ipv6Only: false });
  await once(server, 'listening');
  process.stdout.write(`deathstar ready on port ${port}\n`);
  const end = (): void => {
    server.close();
    server.closeAllConnections();
  };
  signal.addEventListener('abort', end);
  await once(server, 'close');
  return exploded ? EXPLODED : 0;
}

/** What a supervisor writes of the program that it keeps running. */
export interface PodState {
  /** How often it was started again. */
  readonly restarts: number;
  /** As `kubectl get pod` says it. */
  readonly status: 'Running' | 'Error' | 'Completed';
}

/** Keeps `argv` running as a kubelet would: when it ends, counts and starts it again, until `signal` fires. */
export async function superviseRestarts(
  argv: readonly string[],
  tell: (state: PodState) => void,
  signal: AbortSignal,
): Promise<void> {
  const [program = '', ...rest] = argv;
  for (let restarts = 0; !signal.aborted; restarts++) {
    const child = spawn(program, rest, { stdio: 'inherit' });
    tell({ restarts, status: 'Running' });
    const end = (): boolean => child.kill();
    signal.addEventListener('abort', end);
    await once(child, 'exit');
    signal.removeEventListener('abort', end);
    if (signal.aborted) return;
    tell({ restarts, status: child.exitCode === 0 ? 'Completed' : 'Error' });
    await sleep(RESTART_PAUSE_MS);
  }
}
