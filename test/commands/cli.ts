import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..', '..');
const LAUNCHER = join(root, 'bin', 'ciliate');

export interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | null;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly stdin?: string;
  /** Close our end of stdout after so many bytes. */
  readonly closeAfterBytes?: number;
  /** Sent once the output holds this text. */
  readonly interruptAt?: string;
  readonly launcher?: string;
  /** What is run instead of the launcher with its words: the same as another user, say. */
  readonly as?: (argv: readonly string[]) => readonly string[];
}

/** Runs the command line as a user does: the launcher, from source, in a process of its own. */
export function cli(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const {
    CILIATE_SOCK: _a,
    CILIATE_HEALTH_SOCK: _b,
    CILIATE_STATE_DIR: _c,
    CILIATE_COMPAT: _d,
    COLUMNS: _e,
    ...base
  } = process.env;
  const argv = [options.launcher ?? LAUNCHER, ...args];
  const [program = '', ...words] = options.as?.(argv) ?? argv;
  const child = spawn(program, words, {
    cwd: options.cwd ?? root,
    env: { ...base, CILIATE_FROM_SOURCE: '1', NO_COLOR: '1', ...options.env },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    if (options.closeAfterBytes !== undefined && stdout.length >= options.closeAfterBytes)
      child.stdout.destroy();
    if (options.interruptAt !== undefined && stdout.includes(options.interruptAt)) child.kill('SIGINT');
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.stdin ?? '');
  return new Promise((done, fail) => {
    child.on('error', fail);
    child.on('close', (code) => done({ stdout, stderr, code }));
  });
}

/** A request as a test server saw it. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export type Handler = (seen: Seen, response: ServerResponse) => void;

/** A folder with sockets in it, and servers on them; `close` takes all away. */
export class FakeNode {
  readonly stateDir: string = mkdtempSync(join(tmpdir(), 'ciliate-cli-'));
  readonly seen: Seen[] = [];
  readonly #servers: Server[] = [];

  /** Serves `handler` on a socket of the folder: `ciliate.sock`, `health.sock`. */
  async serve(name: string, handler: Handler): Promise<string> {
    const path = join(this.stateDir, name);
    const server = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      request.on('end', () => {
        const { method = '', url = '', headers } = request;
        const seen = { method, path: url, headers, body };
        this.seen.push(seen);
        handler(seen, response);
      });
    });
    this.#servers.push(server);
    await new Promise<void>((done) => server.listen(path, done));
    return path;
  }

  async close(): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
    rmSync(this.stateDir, { recursive: true, force: true });
  }
}

interface Recorded {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly raw?: string;
}

/** Answers as a recording says: `{"[METHOD ]/path": {status?, body|raw}}`. */
export function recordedHandler(file: string): Handler {
  const path = join(root, 'test', 'fixtures', 'cli-golden', file);
  const answers = JSON.parse(readFileSync(path, 'utf8')) as Readonly<Record<string, Recorded>>;
  return ({ method, path: url }, response) => {
    const answer = answers[`${method} ${url}`] ?? answers[url];
    answerJson(
      response,
      answer?.status ?? (answer === undefined ? 404 : 200),
      answer?.raw ?? answer?.body ?? 'none',
    );
  };
}

/** Answers with a value as JSON; text is sent as it is when `status` is 200. */
export function answerJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(typeof value === 'string' && status === 200 ? value : JSON.stringify(value));
}
