import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { buildAsset } from '../base/assets.ts';
import {
  type CapabilityName,
  hasCapability,
  inFirstUserNamespace,
  missingTcx,
} from '../base/kernel-features.ts';
import { DEFAULT_LABS_DIR } from './layout.ts';

const TOOLS = ['ip', 'nsenter', 'mount', 'umount', 'mountpoint', 'tee'] as const;
const TOOL_FOLDERS = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

function missingCapabilities(names: readonly CapabilityName[]): string[] {
  return names.filter((name) => !hasCapability(name));
}

/** What is missing for namespaces, links and mounts; empty when nothing is. */
export function missingForNamespaces(): readonly string[] {
  if (process.getuid?.() !== 0) return [`root (this is uid ${process.getuid?.()})`];
  if (!inFirstUserNamespace()) return ['root of the machine (this is root of a user namespace only)'];
  const tools = TOOLS.filter((tool) => !TOOL_FOLDERS.some((folder) => existsSync(join(folder, tool))));
  return [
    ...missingCapabilities(['CAP_NET_ADMIN', 'CAP_SYS_ADMIN', 'CAP_NET_RAW']),
    ...tools.map((tool) => `the command ${tool}`),
  ];
}

/** What a lab without namespaces is, for lack of what `missingForNamespaces` tells. */
export function notEnforcedText(missing: readonly string[]): string {
  return `without ${missing.join(', ')}: agents on loopback addresses, with no datapath; nothing is enforced`;
}

/** What is missing for the BPF datapath besides namespaces; empty when nothing is. A refusal of the kernel is no reason here. */
export function missingForBpf(): readonly string[] {
  const assets = ['bpf.node', 'sockets.node', 'ciliate.bpf.o'].filter(
    (name) => !existsSync(buildAsset(name)),
  );
  return [
    ...missingCapabilities(['CAP_BPF']),
    ...missingTcx(),
    ...assets.map((name) => `build/${name} (npm run build)`),
  ];
}

/** Our uid as the machine's first user namespace sees it. */
function outerUid(): number {
  const uid = process.getuid?.() ?? 0;
  for (const line of readFileSync('/proc/self/uid_map', 'utf8').split('\n')) {
    const [inside = 0, outside = 0, count = 0] = line.trim().split(/\s+/).map(Number);
    if (uid >= inside && uid < inside + count) return outside + uid - inside;
  }
  return uid;
}

function writable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EACCES' || code === 'EROFS' || code === 'EPERM' || code === 'ENOENT') return false;
    throw error;
  }
}

/** Where labs of this user live. Who is root in a user namespace only may not write where the machine's root does. */
export function defaultLabsDir(): string {
  const place = existsSync(DEFAULT_LABS_DIR) ? DEFAULT_LABS_DIR : dirname(DEFAULT_LABS_DIR);
  if (process.getuid?.() === 0 && writable(place)) return DEFAULT_LABS_DIR;
  return join(tmpdir(), `ciliate-lab-${outerUid()}`);
}
