/** A thread that asks a server on a unix socket: of each path that comes in, how long the whole answer took. */
import { Agent, request } from 'node:http';
import { parentPort, workerData } from 'node:worker_threads';

/** Answer to a path: ms from the request to the last byte, and bytes of the body. */
export interface Got {
  readonly status: number;
  readonly tookMs: number;
  readonly bytes: number;
}

const agent = new Agent({ keepAlive: true });

function get(socketPath: string, path: string): Promise<Got> {
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const asked = request({ socketPath, path, agent }, (answer) => {
      let bytes = 0;
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      answer.on('error', reject);
      answer.on('end', () => {
        resolve({ status: answer.statusCode ?? 0, tookMs: performance.now() - start, bytes });
      });
    });
    asked.on('error', reject);
    asked.end();
  });
}

parentPort?.on('message', (path: string) => {
  void get(String(workerData), path).then((got) => parentPort?.postMessage(got));
});
