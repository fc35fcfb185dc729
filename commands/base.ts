import type { Interfaces } from '@oclif/core';
import { Command } from '@oclif/core/command';
import * as Flags from '@oclif/core/flags';
import type { AgentClient } from '../src/api/client.ts';
import type { HealthClient } from '../src/api/health-client.ts';
import type { Source } from '../src/api/source.ts';
import { readAgentRecord } from '../src/base/agent-record.ts';
import { type ExitCode, SystemError } from '../src/base/errors.ts';
import { DEFAULT_BPF_DIR, DEFAULT_STATE_DIR, type NodePaths, nodePaths } from '../src/base/paths.ts';
import type { Compat, ViewOptions } from '../src/view/types.ts';
import { formatOutput, type OutputFormat, parseOutputFormat, wantsMachineErrors } from './support/output.ts';
import { errorJson, errorReport, wantsDebug, writeError } from './support/report-error.ts';

const GROUP = 'GLOBAL';

const outputFlag = Flags.custom<OutputFormat>({
  char: 'o',
  description: "form of the output: json, yaml, jsonpath='{.field}', text",
  helpValue: 'FORMAT',
  helpGroup: GROUP,
  parse: (text) => Promise.resolve(parseOutputFormat(text)),
});

/** Flags that every command takes. */
export const globalFlags = {
  host: Flags.string({
    char: 'H',
    description: "the agent's API: unix:///path or tcp://host:port",
    helpValue: 'ADDRESS',
    helpGroup: GROUP,
  }),
  'health-host': Flags.string({
    description: "the health agent's API",
    helpValue: 'ADDRESS',
    helpGroup: GROUP,
  }),
  'state-dir': Flags.string({
    description: "folder of the node's sockets and state",
    helpValue: 'DIR',
    env: 'CILIATE_STATE_DIR',
    default: DEFAULT_STATE_DIR,
    noCacheDefault: true,
    helpGroup: GROUP,
  }),
  'bpf-dir': Flags.string({
    description: `folder of the node's pinned maps and links (default: as the agent of --state-dir noted, else ${DEFAULT_BPF_DIR})`,
    helpValue: 'DIR',
    env: 'CILIATE_BPF_DIR',
    helpGroup: GROUP,
  }),
  output: outputFlag(),
  'no-headers': Flags.boolean({ description: 'leave header lines out', helpGroup: GROUP }),
  compat: Flags.option({
    description: 'print to the byte as these tools of Cilium did',
    options: ['2018', '1.19'] as const,
    env: 'CILIATE_COMPAT',
    helpGroup: GROUP,
  })(),
  debug: Flags.boolean({ char: 'D', description: 'show the stack of errors', helpGroup: GROUP }),
};

export type GlobalFlags = Interfaces.InferredFlags<typeof globalFlags>;
export type CommandFlags<T extends typeof Command> = Interfaces.InferredFlags<
  typeof globalFlags & T['flags']
>;
export type CommandArgs<T extends typeof Command> = Interfaces.InferredArgs<T['args']>;

/**
 * What all commands extend: global flags, the source of data, output in every form, and errors that end in the
 * project's exit codes.
 */
export abstract class BaseCommand<T extends typeof Command> extends Command {
  static override baseFlags = globalFlags;

  protected flags!: CommandFlags<T>;
  protected args!: CommandArgs<T>;
  /** Every word that is no flag, also beyond the named arguments (`strict = false`). */
  protected words: readonly string[] = [];
  /** Whether an API was asked. */
  #asked = false;

  override async init(): Promise<void> {
    await super.init();
    const { args, argv, flags } = await this.parse({
      flags: this.ctor.flags,
      baseFlags: globalFlags,
      args: this.ctor.args,
      strict: this.ctor.strict,
    });
    this.flags = flags as CommandFlags<T>;
    this.args = args as CommandArgs<T>;
    this.words = argv.map(String);
  }

  /** The same flags seen as those that every command has. */
  protected get shared(): GlobalFlags {
    return this.flags as GlobalFlags;
  }

  /** Pins are looked for where the flag, the environment or the agent's own note says; the agent may be dead. */
  protected get paths(): NodePaths {
    const { 'state-dir': stateDir, 'bpf-dir': bpfDir } = this.shared;
    return nodePaths(stateDir, bpfDir ?? readAgentRecord(stateDir)?.bpfDir);
  }

  protected get compat(): Compat {
    return this.shared.compat;
  }

  protected get view(): ViewOptions {
    return { compat: this.compat, noHeaders: this.shared['no-headers'] };
  }

  protected get format(): OutputFormat {
    return this.shared.output ?? { kind: 'text' };
  }

  /** The agent's and the health agent's API, as flags and environment name them. */
  protected async clients(): Promise<{ readonly agent: AgentClient; readonly health: HealthClient }> {
    const { liveClients } = await import('../src/api/live-source.ts');
    this.#asked = true;
    return liveClients({
      host: this.shared.host,
      healthHost: this.shared['health-host'],
      stateDir: this.shared['state-dir'],
      env: process.env,
    });
  }

  /** Where read commands get their data. */
  protected async source(): Promise<Source> {
    const [{ createLiveSource }, { lazyMapReader }] = await Promise.all([
      import('../src/api/live-source.ts'),
      import('./support/maps.ts'),
    ]);
    return createLiveSource({ ...(await this.clients()), maps: lazyMapReader(this.paths) });
  }

  /** Prints `value` as `-o` asks; `text` makes the layout for people. */
  protected async print(value: unknown, text: () => string | Promise<string>): Promise<void> {
    process.stdout.write(await formatOutput(this.format, value, text, this.compat));
  }

  /**
   * The same again and again until Ctrl-C, where the flags ask for it. @param make fetches the value, and gives its layout
   * @throws UsageError code OUTPUT_FORMAT for forms that do not stand one after the other
   */
  protected async printOrWatch(
    make: () => Promise<{ readonly value: unknown; readonly text: () => string }>,
    { watch: again, every }: { readonly watch: boolean; readonly every?: number | undefined },
  ): Promise<void> {
    const { format, compat } = this;
    const once = async (): Promise<string> => {
      const { value, text } = await make();
      if (format.kind === 'text') return text();
      return formatOutput(format, value, text, compat);
    };
    if (!again) {
      process.stdout.write(await once());
      return;
    }
    const { watch } = await import('./support/watch.ts');
    await watch(once, { everyMs: every, redraw: format.kind === 'text' && process.stdout.isTTY === true });
  }

  /** Commands work on what a server sent, checked at its outermost only: a wrong type further in is the server's fault. */
  #blamed(cause: unknown): unknown {
    if (!this.#asked || !(cause instanceof TypeError)) return cause;
    return new SystemError('an answer holds a value of a wrong type', {
      code: 'SOURCE_BAD_ANSWER',
      hint: 'look at it with -o json; --debug shows where',
      cause,
    });
  }

  /** Ends with this code once everything is written; an error still overrides it. */
  protected exitWith(code: ExitCode): void {
    process.exitCode = code;
  }

  /** oclif would exit 1 for everything, or 2 for what is no usage error: each error brings its own code here. */
  protected override catch(error: unknown): Promise<void> {
    const names = Object.keys({ ...globalFlags, ...this.ctor.flags });
    const report = errorReport(this.#blamed(error), names);
    writeError(report, { json: wantsMachineErrors(this.argv), debug: wantsDebug(this.argv) });
    process.exitCode = report.exitCode;
    return Promise.resolve();
  }

  /** oclif would print the whole configuration of the CLI (oclif/core#1423). */
  protected override toErrorJson(error: unknown): unknown {
    return errorJson(errorReport(error));
  }
}
