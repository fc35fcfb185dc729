import { hostname } from 'node:os';
import * as Flags from '@oclif/core/flags';
import type { Collector, CollectorReport, Manifest, Output } from '../bugtool/index.ts';
import { ExitCode, UsageError } from '../src/base/errors.ts';
import { BaseCommand } from './base.ts';
import { durationFlag } from './support/duration-flag.ts';
import { interruptSignal } from './support/interrupt.ts';

const DEFAULT_TIMEOUT_MS = 5 * 60_000;

/** `20261123-010203` in UTC. */
function stamp(date: Date): string {
  return date.toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '-');
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function mib(bytes: number): string {
  return bytes < 1 << 20 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / (1 << 20)).toFixed(1)} MiB`;
}

/** The flags as this command has them: its --output is a file and hides the form that other commands take by it. */
interface BugtoolFlags {
  readonly output?: string;
  readonly list: boolean;
  readonly timeout?: number;
  readonly include?: readonly string[];
  readonly exclude?: readonly string[];
  readonly quiet: boolean;
}

export default class Bugtool extends BaseCommand<typeof Bugtool> {
  static override summary = "Pack this node's state into one archive for a report";
  static override description =
    'Collects the state of the host, the kernel, BPF maps and programs, the agent, health, logs and metrics into one ' +
    'tar.gz. Works with the agent dead; Ctrl-C ends it with what was collected. Secrets are masked on the way, but ' +
    'look before you publish. Exit 0 when complete, 5 when something is missing (the manifest says what and why).';
  static override examples = [
    '<%= config.bin %> bugtool',
    '<%= config.bin %> bugtool -o - | ssh host tar xz',
    '<%= config.bin %> bugtool --include map --include api --list',
  ];
  static override flags = {
    output: Flags.string({
      char: 'o',
      aliases: ['output-file'],
      description: 'file to write, or - for standard output',
      helpValue: 'FILE|-',
    }),
    list: Flags.boolean({ description: 'show what would be collected, and collect nothing' }),
    timeout: durationFlag({ description: 'end with what there is after this time', helpValue: '5m' }),
    include: Flags.string({ description: 'only collectors of this id, folder or glob', multiple: true }),
    exclude: Flags.string({ description: 'not the collectors of this id, folder or glob', multiple: true }),
    quiet: Flags.boolean({ char: 'q', description: 'no progress on standard error' }),
  };

  /** What went wrong, each thing once: a dead agent concerns many collectors. */
  readonly #said = new Set<string>();

  get #own(): BugtoolFlags {
    return this.flags as unknown as BugtoolFlags;
  }

  async run(): Promise<void> {
    const collectors = await this.#plan();
    if (this.#own.list) {
      await this.#list(collectors);
      return;
    }
    const node = hostname();
    const root = `ciliate-bugtool-${node}-${stamp(new Date())}`;
    const output = await this.#open(`${root}.tar.gz`);
    const manifest = await this.#pack(collectors, output, { node, root });
    this.#report(manifest, output);
    if (!manifest.complete)
      this.exitWith(nothingPermitted(manifest) ? ExitCode.notPermitted : ExitCode.partial);
  }

  async #plan(): Promise<readonly Collector[]> {
    const [{ planCollectors }, { loadBpf }, clients] = await Promise.all([
      import('../bugtool/index.ts'),
      import('../bpf/addon/index.ts'),
      this.clients(),
    ]);
    const { include, exclude } = this.#own;
    return planCollectors({ ...clients, paths: this.paths, loadBpf, include, exclude });
  }

  async #list(collectors: readonly Collector[]): Promise<void> {
    const { sourceOf } = await import('../bugtool/index.ts');
    const lines = collectors.map((collector) => {
      const source = sourceOf(collector);
      const text = typeof source === 'string' ? source : source.join(' ');
      return `${collector.id}\t${collector.kind === 'skipped' ? `skipped: ${collector.reason}` : text}\n`;
    });
    process.stdout.write(lines.join(''));
  }

  async #open(name: string): Promise<Output> {
    const { openOutputFile, standardOutput } = await import('../bugtool/index.ts');
    const asked = this.#own.output;
    if (asked !== '-') return openOutputFile(asked ?? name);
    if (process.stdout.isTTY)
      throw new UsageError('an archive is not for a terminal', { hint: 'pipe it, or name a file' });
    return standardOutput(process.stdout);
  }

  async #pack(
    collectors: readonly Collector[],
    output: Output,
    names: { readonly node: string; readonly root: string },
  ): Promise<Manifest> {
    const { packBugtool } = await import('../bugtool/index.ts');
    const { agent } = await this.clients();
    const deadline = AbortSignal.timeout(this.#own.timeout ?? DEFAULT_TIMEOUT_MS);
    const stop = AbortSignal.any([interruptSignal(), deadline]);
    const { version } = this.config;
    return packBugtool(
      { ...names, collectors, output, version, stop, onReport: (...state) => this.#progress(...state) },
      { agent },
    );
  }

  #progress(report: CollectorReport, done: number, total: number): void {
    if (this.#own.quiet) return;
    const unexpected = report.outcome !== 'ok' && !report.optional && report.expected !== true;
    const problem = `${report.outcome}: ${report.reason ?? 'no reason'}`;
    if (unexpected && !this.#said.has(problem)) {
      this.#said.add(problem);
      say(`${report.id}: ${problem}`);
    }
    if (process.stderr.isTTY) process.stderr.write(`\r${done}/${total} ${report.id}\x1b[K\r`);
  }

  #report(manifest: Manifest, output: Output): void {
    const counts = Object.entries(manifest.counts).filter(([, count]) => count > 0);
    const bytes = manifest.collectors.reduce((sum, collector) => sum + collector.bytes, 0);
    const seconds = (manifest.durationMs / 1000).toFixed(1);
    if (manifest.interrupted) say('interrupted: the archive holds what was collected until then');
    say(`${counts.map(([kind, count]) => `${count} ${kind}`).join(', ')}; ${mib(bytes)} in ${seconds} s`);
    if (manifest.redactions > 0)
      say(
        `${manifest.redactions} secret${manifest.redactions === 1 ? '' : 's'} masked; look before you publish`,
      );
    say(output.name === '-' ? 'archive written to standard output' : `archive: ${output.name}`);
  }
}

/** Nothing at all could be read for want of privilege. */
function nothingPermitted({ counts, collectors, interrupted }: Manifest): boolean {
  return (
    !interrupted &&
    counts.ok === 0 &&
    collectors.some(({ reason }) => reason !== undefined && /EACCES|EPERM/.test(reason))
  );
}
