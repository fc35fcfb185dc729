import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import {
  type Collector,
  type CollectorReport,
  type Manifest,
  openOutputFile,
  packBugtool,
} from '../../bugtool/index.ts';

export class Scratch {
  readonly path = mkdtempSync(join(tmpdir(), 'ciliate-bugtool-test-'));
  file(name: string): string {
    return join(this.path, name);
  }
  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** An agent that answers what the table says. */
export function agentOf(answers: Readonly<Record<string, string>>) {
  return {
    name: 'unix:///test.sock',
    raw: (path: string): Promise<string> => {
      const answer = answers[path];
      return answer === undefined ? Promise.reject(new Error(`no ${path}`)) : Promise.resolve(answer);
    },
    metrics: (): Promise<string> => Promise.resolve('# metrics\n'),
  };
}

export interface Packed {
  readonly manifest: Manifest;
  /** Path inside the archive's folder -> content, read back with tar. */
  readonly files: ReadonlyMap<string, Buffer>;
  report(id: string): CollectorReport;
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile());
}

/** Unpacks with tar, and checks that the manifest names every file with its size and SHA-256. */
export function readArchive(archive: string, folder: string): Packed {
  execFileSync('mkdir', ['-p', folder]);
  execFileSync('tar', ['-xzf', archive, '-C', folder]);
  const [root = ''] = readdirSync(folder);
  const files = new Map(
    filesBelow(folder).map((path) => [relative(join(folder, root), path), readFileSync(path)]),
  );
  const manifest = JSON.parse(String(files.get('manifest.json'))) as Manifest;
  for (const entry of manifest.collectors.flatMap((collector) => collector.files)) {
    const content = files.get(entry.path);
    const sha256 = content && createHash('sha256').update(content).digest('hex');
    if (content?.length !== entry.bytes || sha256 !== entry.sha256)
      throw new Error(`${entry.path} is not as listed`);
  }
  const listed = manifest.collectors.flatMap((collector) => collector.files.map(({ path }) => path));
  const unlisted = [...files.keys()].filter((path) => path !== 'manifest.json' && !listed.includes(path));
  if (unlisted.length > 0) throw new Error(`not in the manifest: ${unlisted.join(', ')}`);
  return {
    manifest,
    files,
    report(id) {
      const found = manifest.collectors.find((collector) => collector.id === id);
      if (found === undefined) throw new Error(`no ${id} in the manifest`);
      return found;
    },
  };
}

export const argv = (id: string, words: readonly string[], more: object = {}): Collector =>
  ({ kind: 'argv', id, path: `${id}.txt`, argv: words, ...more }) as Collector;

/** A shell line as a collector: only here, to make programs that misbehave. */
export const shell = (id: string, line: string, more: object = {}): Collector =>
  argv(id, ['sh', '-c', line], more);

/** Packs to a file and reads it back. */
export async function pack(
  scratch: Scratch,
  collectors: readonly Collector[],
  options: { readonly stop?: AbortSignal; readonly agent?: ReturnType<typeof agentOf> } = {},
): Promise<Packed> {
  const archive = scratch.file(`a${Math.random()}.tar.gz`);
  await packBugtool(
    {
      collectors,
      output: await openOutputFile(archive),
      root: 'ciliate-bugtool-test',
      node: 'test',
      version: '0',
      stop: options.stop ?? new AbortController().signal,
    },
    { agent: options.agent ?? agentOf({}) },
  );
  return readArchive(archive, `${archive}.d`);
}
