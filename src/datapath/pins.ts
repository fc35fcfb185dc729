import { existsSync, readdirSync, rmdirSync, statfsSync, unlinkSync } from 'node:fs';
import { dirname, join, resolve, sep } from 'node:path';
import type { Bpf } from '../../bpf/addon/index.ts';
import { NotPermittedError, SystemError } from '../base/errors.ts';
import { makeFolder } from '../base/make-folder.ts';

/** `BPF_FS_MAGIC`, uapi/linux/magic.h. */
const BPF_FS_MAGIC = 0xcafe4a11;
const USUAL_MOUNT = '/sys/fs/bpf';

/** Where one node's maps and links are pinned. */
export interface PinFolders {
  readonly maps: string;
  readonly links: string;
}

export function pinFolders(bpfDir: string): PinFolders {
  return { maps: join(bpfDir, 'maps'), links: join(bpfDir, 'links') };
}

export function isOnBpffs(path: string): boolean {
  return existsSync(path) && statfsSync(path).type === BPF_FS_MAGIC;
}

function nearestExisting(path: string): string {
  let folder = resolve(path);
  while (!existsSync(folder)) folder = dirname(folder);
  return folder;
}

/**
 * Makes the pin folders. The folder must lie on a bpffs; only the usual place, /sys/fs/bpf, is mounted when nothing
 * is there. Anywhere else a missing mount is more likely a wrong path.
 *
 * @throws SystemError BPFFS_MISSING, NotPermittedError when mounting is refused
 */
export function ensurePinFolders(bpf: Bpf, bpfDir: string): PinFolders {
  const wanted = resolve(bpfDir);
  if (!isOnBpffs(nearestExisting(wanted))) {
    const usual = wanted === USUAL_MOUNT || wanted.startsWith(USUAL_MOUNT + sep);
    if (!usual || !existsSync(USUAL_MOUNT)) {
      throw new SystemError(`${bpfDir} is not on a bpffs`, {
        code: 'BPFFS_MISSING',
        hint: `mount one: \`mount -t bpf none DIR\` on ${bpfDir} or a folder above it`,
      });
    }
    try {
      bpf.mountBpffs(USUAL_MOUNT);
    } catch (cause) {
      throw new NotPermittedError(`cannot mount a bpffs on ${USUAL_MOUNT}`, { cause, hint: 'run as root' });
    }
  }
  const folders = pinFolders(wanted);
  makeFolder(folders.maps, 0o700);
  makeFolder(folders.links, 0o700);
  return folders;
}

export function listPins(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).sort() : [];
}

/** Removes what we pinned below `bpfDir`, links first, and the folders; a mount point itself stays. */
export function removePins(bpfDir: string): void {
  const { maps, links } = pinFolders(resolve(bpfDir));
  for (const folder of [links, maps]) {
    if (!isOnBpffs(folder)) continue;
    for (const name of listPins(folder)) unlinkSync(join(folder, name));
    rmdirSync(folder);
  }
  const root = resolve(bpfDir);
  if (isOnBpffs(root) && isOnBpffs(dirname(root)) && readdirSync(root).length === 0) rmdirSync(root);
}
