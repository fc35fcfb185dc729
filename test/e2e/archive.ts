import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';

export interface UnpackedFile {
  readonly bytes: number;
  readonly sha256: string;
  /** Only of JSON files. */
  readonly text: string | undefined;
}

/** Reads a .tar.gz by a tar reader that is not the one that wrote it: path below its one folder -> what is there. */
export async function readArchive(file: string): Promise<ReadonlyMap<string, UnpackedFile>> {
  const files = new Map<string, UnpackedFile>();
  const entries = createReadStream(file).pipe(createGunzip()).pipe(extract());
  for await (const entry of entries) {
    const content = await buffer(entry);
    const { name } = entry.header;
    files.set(name.slice(name.indexOf('/') + 1), {
      bytes: content.length,
      sha256: createHash('sha256').update(content).digest('hex'),
      text: name.endsWith('.json') ? content.toString('utf8') : undefined,
    });
  }
  return files;
}
