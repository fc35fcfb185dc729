import { release } from 'node:os';
import type { Collector } from './types.ts';

const MIB = 1 << 20;

/** `host/ip-addr: ip addr show`: id and file follow from the name. */
function argv(name: string, words: readonly string[], more: Partial<Collector> = {}): Collector {
  return { ...more, kind: 'argv', id: `host/${name}`, path: `host/${name}.txt`, argv: words } as Collector;
}

function optional(name: string, words: readonly string[]): Collector {
  return argv(name, words, { optional: true });
}

function file(name: string, path: string, more: Partial<Collector> = {}): Collector {
  const base = { kind: 'file', id: `kernel/${name}`, path: `kernel/${name}`, file: path, optional: true };
  return { ...base, ...more } as Collector;
}

const NETWORK: readonly Collector[] = [
  argv('ip-addr', ['ip', '-details', 'address', 'show']),
  argv('ip-link', ['ip', '-details', '-statistics', 'link', 'show']),
  argv('ip-route-4', ['ip', '-4', '-details', 'route', 'show', 'table', 'all'], { capBytes: 8 * MIB }),
  argv('ip-route-6', ['ip', '-6', '-details', 'route', 'show', 'table', 'all'], { capBytes: 8 * MIB }),
  argv('ip-rule-4', ['ip', '-4', 'rule', 'show']),
  argv('ip-rule-6', ['ip', '-6', 'rule', 'show']),
  argv('ip-neigh-4', ['ip', '-4', '-statistics', 'neigh', 'show', 'nud', 'all']),
  argv('ip-neigh-6', ['ip', '-6', '-statistics', 'neigh', 'show', 'nud', 'all']),
  argv('ip-netns', ['ip', 'netns', 'list']),
  argv('ip-maddr', ['ip', 'maddress', 'show']),
  argv('bridge-fdb', ['bridge', 'fdb', 'show']),
  argv('sockets-tcp', ['ss', '-tnape']),
  argv('sockets-udp', ['ss', '-unape']),
  argv('sockets-raw', ['ss', '-wnape']),
  argv('sockets-unix', ['ss', '-xnape']),
  argv('sockets-summary', ['ss', '-s']),
  argv('nstat', ['nstat', '-asz']),
  argv('tc-qdisc', ['tc', '-s', '-d', 'qdisc', 'show']),
  // These two exist on many machines and are needed on none.
  optional('nft-ruleset', ['nft', 'list', 'ruleset']),
  optional('iptables-save', ['iptables-save', '-c']),
  optional('ip6tables-save', ['ip6tables-save', '-c']),
  optional('conntrack-count', ['conntrack', '-C']),
  optional('bpftool-net', ['bpftool', 'net', 'show']),
  optional('bpftool-prog', ['bpftool', 'prog', 'show']),
  optional('bpftool-map', ['bpftool', 'map', 'show']),
  optional('bpftool-link', ['bpftool', 'link', 'show']),
  optional('bpftool-feature', ['bpftool', 'feature', 'probe', 'kernel']),
];

const SYSTEM: readonly Collector[] = [
  argv('uname', ['uname', '-a']),
  argv('date', ['date', '--iso-8601=seconds']),
  argv('mounts', ['cat', '/proc/self/mountinfo']),
  argv('disk-free', ['df', '-h']),
  optional('processes', ['ps', '-eo', 'pid,ppid,user,stat,etime,rss,args']),
  optional('dmesg', ['dmesg', '--ctime']),
];

const KERNEL: readonly Collector[] = [
  file('version', '/proc/version', { optional: false }),
  file('cmdline', '/proc/cmdline', { optional: false }),
  file('cpuinfo', '/proc/cpuinfo', { optional: false }),
  file('meminfo', '/proc/meminfo', { optional: false }),
  file('loadavg', '/proc/loadavg', { optional: false }),
  file('uptime', '/proc/uptime', { optional: false }),
  file('interrupts', '/proc/interrupts'),
  file('softirqs', '/proc/softirqs'),
  file('softnet_stat', '/proc/net/softnet_stat'),
  file('modules', '/proc/modules'),
  file('filesystems', '/proc/filesystems', { optional: false }),
  file('config', `/boot/config-${release()}`),
  file('config.gz', '/proc/config.gz', { binary: true }),
  file('os-release', '/etc/os-release'),
  file('resolv.conf', '/etc/resolv.conf'),
  {
    kind: 'tree',
    id: 'kernel/sysctl',
    path: 'kernel/sysctl.txt',
    roots: ['/proc/sys/net', '/proc/sys/kernel', '/proc/sys/vm'],
    deadlineMs: 20_000,
  },
];

/** State of the machine; nothing of the project must run. */
export const hostCollectors: readonly Collector[] = [...NETWORK, ...SYSTEM, ...KERNEL];
