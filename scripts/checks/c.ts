import { existsSync } from 'node:fs';
import { arch, machine } from 'node:os';
import { type Check, type CheckResult, command, fails, passes, skips, trackedFiles } from './check.ts';

const NODE_INCLUDE = `node_modules/node-linux-${arch()}/include/node`;

/** `-Wbitwise` is the point: a value in network order that meets one in host order. */
const SPARSE = [
  'sparse',
  '-Wbitwise',
  '-Wsparse-error',
  '-Wno-decl',
  '-D_GNU_SOURCE',
  `-I/usr/include/${machine()}-linux-gnu`,
];
/** Our stand-in for libbpf's conversions comes first: theirs carry no byte order. */
const BPF = ['-D__bpf__', '-Iscripts/checks/sparse', '-Ibpf'];
const ADDON = ['-DNAPI_VERSION=9', `-I${NODE_INCLUDE}`];

async function sparse(files: readonly string[], flags: readonly string[]): Promise<CheckResult> {
  if (files.length === 0) return skips('no such file');
  const problems: string[] = [];
  for (const file of files) {
    const result = await command([...SPARSE, ...flags, file]);
    if (result.kind === 'skip') return result;
    if (result.kind === 'fail') problems.push(result.text);
  }
  return problems.length === 0 ? passes : fails(problems.join('\n'));
}

function cFiles(): string[] {
  return trackedFiles('*.c', '*.h').filter((file) => existsSync(file));
}

const isAddon = (file: string): boolean =>
  /^(bpf\/addon|src\/base\/(native|sockets)|probes\/(common|icmp))\/.*\.c$/.test(file);

export const cChecks: readonly Check[] = [
  {
    name: 'C format',
    run: () => {
      const files = cFiles();
      return files.length === 0
        ? Promise.resolve(skips('no C yet'))
        : command(['clang-format', '--dry-run', '--Werror', ...files]);
    },
  },
  { name: 'sparse addons', run: () => sparse(cFiles().filter(isAddon), ADDON) },
  { name: 'sparse bpf', run: () => sparse(['bpf/ciliate.bpf.c'], BPF) },
];
