import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SystemError } from './errors.ts';

/** The folder that holds `package.json`, found upwards from this file: the same from source and from the bundle. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new SystemError(`no package.json above ${import.meta.url}`);
    folder = parent;
  }
  return folder;
}

/** Absolute path of a built file: `bpf.node`, `sockets.node`, `icmp.node`, `ciliate.bpf.o`. */
export function buildAsset(name: string): string {
  return join(packageRoot(), 'build', name);
}

/**
 * Loads a native addon of ours from `build/`.
 * @throws SystemError code ADDON_MISSING when it was not built or does not load here.
 */
export function loadAddon<T>(name: string): T {
  const file = buildAsset(name);
  try {
    return createRequire(import.meta.url)(file) as T;
  } catch (cause) {
    throw new SystemError(`cannot load the native addon ${file}`, {
      code: 'ADDON_MISSING',
      hint: 'run `npm run build`',
      cause,
    });
  }
}
