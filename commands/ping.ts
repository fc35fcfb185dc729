import * as Flags from '@oclif/core/flags';
import type { PingSession } from '../probes/icmp/index.ts';
import { ExitCode, UsageError } from '../src/base/errors.ts';
import type { IpFamily } from '../src/base/ip.ts';
import { parseInteger } from '../src/base/option-parsers.ts';
import { BaseCommand } from './base.ts';
import { checked } from './support/checked.ts';
import { durationFlagFrom } from './support/duration-flag.ts';
import { interruptSignal } from './support/interrupt.ts';
import {
  pingJson,
  pingLineText,
  pingNotes,
  pingSummaryText,
  type UnresolvedHost,
} from './support/ping-output.ts';
import { expandHosts, resolveHosts } from './support/resolve-hosts.ts';

const durationMs = durationFlagFrom({ leastMs: 1, bareUnit: 'ms' });
const DEFAULT_MS = 1000;

const integer = (least: number, most: number) =>
  Flags.custom<number>({ parse: checked(parseInteger(least, most)) });

export default class Ping extends BaseCommand<typeof Ping> {
  static override summary = 'Measure the ICMP round trip to many hosts at once, by kernel timestamps';
  static override description =
    'Times run from the stamp that the kernel takes at transmission to the one it takes at reception, so a busy machine does not change them. Needs CAP_NET_RAW, or a group in net.ipv4.ping_group_range. HOST `-` reads hosts from the standard input. Exit 0: every host answered; 1: some did not; 3: not permitted.';
  static override strict = false;
  static override usage = 'ping HOST... [flags]';
  static override examples = [
    '<%= config.bin %> ping 10.0.0.1 10.0.0.2 -c 10',
    '<%= config.bin %> ping -f -q -c 1000 fd00::1',
  ];
  static override flags = {
    count: integer(
      0,
      1e9,
    )({ char: 'c', description: 'probes to each host; 0: until interrupted', default: 5 }),
    interval: durationMs({ char: 'i', description: 'from one probe to the next of a host (default: 1s)' }),
    timeout: durationMs({ char: 't', description: 'how long a reply is waited for (default: 1s)' }),
    size: integer(24, 65_507)({ description: 'bytes of payload', default: 56 }),
    ipv4: Flags.boolean({ description: 'IPv4 only; also -4', exclusive: ['ipv6'] }),
    ipv6: Flags.boolean({ description: 'IPv6 only; also -6' }),
    quiet: Flags.boolean({ char: 'q', description: 'only the summary' }),
    flood: Flags.boolean({ char: 'f', description: 'as fast as replies come' }),
    source: Flags.string({
      char: 'S',
      description: 'source address',
      multiple: true,
      multipleNonGreedy: true,
    }),
    dscp: integer(0, 63)({ description: 'differentiated services code point' }),
    'dont-fragment': Flags.boolean({ char: 'M', description: 'packets may not be fragmented' }),
    ttl: integer(1, 255)({ description: 'hop limit' }),
    mode: Flags.option({
      description: 'kind of socket',
      options: ['auto', 'raw', 'datagram'] as const,
      default: 'auto',
    })(),
    netns: Flags.string({ description: 'probe from this network namespace: a path' }),
  };

  override async init(): Promise<void> {
    const short: Readonly<Record<string, string>> = { '-4': '--ipv4', '-6': '--ipv6' };
    this.argv = this.argv.map((word) => short[word] ?? word);
    await super.init();
  }

  async run(): Promise<void> {
    const words = this.argv.length === 0 ? [] : ((await this.parse(Ping)).argv as string[]);
    const hosts = await expandHosts(words);
    if (hosts.length === 0) throw new UsageError('no host to ping', { hint: '`ciliate ping HOST...`' });
    const { targets, unresolved } = await resolveHosts(hosts, this.#family());
    const { PingSession } = await import('../probes/icmp/index.ts');
    const { flags } = this;
    const lines = !flags.quiet && this.format.kind === 'text';
    const session = new PingSession(
      targets,
      {
        count: flags.count,
        intervalMs: flags.interval ?? DEFAULT_MS,
        timeoutMs: flags.timeout ?? DEFAULT_MS,
        payloadBytes: flags.size,
        flood: flags.flood,
        sources: flags.source,
        dscp: flags.dscp,
        dontFragment: flags['dont-fragment'],
        hopLimit: flags.ttl,
        mode: flags.mode,
        netns: flags.netns,
      },
      { onLine: lines ? (line) => process.stdout.write(pingLineText(line)) : undefined },
    );
    const modes = await this.#run(session, targets.length);
    await this.#report(session, modes, unresolved);
  }

  #family(): IpFamily | undefined {
    if (this.flags.ipv4) return 4;
    return this.flags.ipv6 ? 6 : undefined;
  }

  async #run(session: PingSession, targets: number): Promise<Readonly<Record<string, string>>> {
    if (targets === 0) return {};
    session.start();
    const modes = { ipv4: session.mode(4), ipv6: session.mode(6) };
    interruptSignal().addEventListener('abort', () => session.stop());
    await session.run();
    session.stop();
    return modes;
  }

  async #report(
    session: PingSession,
    modes: Readonly<Record<string, string>>,
    unresolved: readonly UnresolvedHost[],
  ): Promise<void> {
    const reports = session.reports();
    const counters = session.counters();
    const separator = this.flags.quiet || reports.length === 0 ? '' : '\n';
    await this.print(
      pingJson({ modes, reports, unresolved, counters }),
      () => separator + pingSummaryText(reports, unresolved),
    );
    if (this.format.kind === 'text') process.stderr.write(pingNotes(counters));
    const silent = unresolved.length > 0 || reports.some(({ received }) => received === 0);
    if (silent) this.exitWith(ExitCode.finding);
  }
}
