import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const FOLDER = join(import.meta.dirname, '..', 'fixtures', 'cli-golden');

/** A recorded output, `v1.19.4/status.txt`. */
export function golden(name: string): string {
  return readFileSync(join(FOLDER, name), 'utf8');
}

interface Recorded {
  readonly body?: unknown;
}

function responses(file: string): Readonly<Record<string, Recorded>> {
  return JSON.parse(readFileSync(join(FOLDER, file), 'utf8')) as Readonly<Record<string, Recorded>>;
}

/** The recorded answer of the agent to a GET of `path`. */
export function agentAnswer<T>(path: string): T {
  return responses('agent-responses.json')[path]?.body as T;
}

/** The recorded answer of the health agent to a GET of `path`. */
export function healthAnswer<T>(path: string): T {
  return responses('health-responses.json')[path]?.body as T;
}

/** Objects one a line. */
export function recordedLines<T>(path: string): T[] {
  const raw = (responses('agent-responses.json')[path] as { readonly raw?: string } | undefined)?.raw ?? '';
  return raw
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T);
}

const REAL = join(import.meta.dirname, '..', 'fixtures', 'cilium-1.19-agent');

/** An output of the real agent's tools. */
export function recordedReal(name: string): string {
  return readFileSync(join(REAL, name), 'utf8');
}

/** An answer of the real agent. */
export function realAnswer<T>(name: string): T {
  return JSON.parse(readFileSync(join(REAL, name), 'utf8')) as T;
}
