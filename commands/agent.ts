import type { Interfaces } from '@oclif/core';
import * as Flags from '@oclif/core/flags';
import { AGENT_ENVIRONMENT_PREFIX, AGENT_OPTIONS } from '../src/agent/options.ts';
import { resolveConfig, unknownVariables } from '../src/base/config.ts';
import { createLog } from '../src/base/log.ts';
import { nodePaths } from '../src/base/paths.ts';
import { BaseCommand } from './base.ts';
import { interruptSignal } from './support/interrupt.ts';

/** Options that every command has already. */
const SHARED = ['state-dir', 'bpf-dir'] as const;

/** Variables that other parts of ciliate read. */
const OTHER_VARIABLES = [
  ...['CILIATE_SOCK', 'CILIATE_HEALTH_SOCK', 'CILIATE_HOST', 'CILIATE_COMPAT', 'CILIATE_CONFIG_DIR'],
  ...['CILIATE_FROM_SOURCE', 'CILIATE_TEST_SEED'],
] as const;

/** A flag per option; its text is read by the option's own parser, together with environment and config folder. */
function optionFlags(): Interfaces.FlagInput {
  const own = Object.entries(AGENT_OPTIONS).filter(([name]) => !SHARED.some((shared) => shared === name));
  return Object.fromEntries(
    own.map(([name, { description, placeholder, fallback }]) => [
      name,
      typeof fallback === 'boolean'
        ? Flags.boolean({ description, allowNo: true })
        : Flags.string({ description, helpValue: placeholder ?? 'VALUE' }),
    ]),
  );
}

export default class AgentCommand extends BaseCommand<typeof AgentCommand> {
  static override summary = 'Run the agent of this node until SIGTERM';
  static override description =
    'Drives the BPF datapath of the network namespace it runs in, and serves the API on ciliate.sock. Each option may also be set by the environment (CILIATE_IPV4_RANGE) or by a file of that name in the config folder; a flag counts before the environment, that before the folder. After SIGTERM, or killed, the pinned datapath goes on enforcing, and the health process goes on probing for the next agent to take over; `ciliate cleanup --force` ends both.';
  static override examples = [
    '<%= config.bin %> agent --ipv4-range 10.0.1.0/24 --cluster-cidrs 10.0.0.0/16 --devices eth0',
    '<%= config.bin %> agent --config-dir /etc/ciliate/config',
  ];
  static override flags = {
    'config-dir': Flags.string({
      description: 'folder with one file per option, as a mounted ConfigMap has it',
      helpValue: 'DIR',
      env: 'CILIATE_CONFIG_DIR',
    }),
    ...optionFlags(),
  };

  async run(): Promise<void> {
    // Whatever the caller's mask: nobody else writes what this process makes.
    process.umask(0o022);
    const environment = { environment: process.env, environmentPrefix: AGENT_ENVIRONMENT_PREFIX };
    const { values, origins } = resolveConfig(AGENT_OPTIONS, {
      ...environment,
      flags: this.#givenFlags(),
      folder: this.flags['config-dir'],
    });
    const { logDir } = nodePaths(values['state-dir'], values['bpf-dir']);
    const { createAgent } = await import('../src/wiring/agent.ts');
    const interrupted = interruptSignal();
    const fields = { process: 'agent', node: values['node-name'] };
    const log = createLog({ level: values['log-level'], fields, file: `${logDir}/agent.log` });
    for (const told of unknownVariables(AGENT_OPTIONS, environment, OTHER_VARIABLES)) log.warn({}, told);
    const agent = createAgent({ options: values, origins, log });
    await agent.start();
    if (!interrupted.aborted) {
      await new Promise((resolve) => interrupted.addEventListener('abort', resolve, { once: true }));
    }
    await agent.stop();
  }

  /** Flags on the command line only: a flag's default or its environment would hide where a value came from. */
  #givenFlags(): Record<string, string | boolean | undefined> {
    const given: Record<string, string | boolean | undefined> = {};
    const flags: Readonly<Record<string, unknown>> = this.flags;
    for (const name of Object.keys(AGENT_OPTIONS)) {
      const value = flags[name];
      if (typeof value === 'string' || typeof value === 'boolean') given[name] = value;
    }
    for (const name of SHARED)
      if (!this.argv.some((word) => word.startsWith(`--${name}`))) given[name] = undefined;
    return given;
  }
}
