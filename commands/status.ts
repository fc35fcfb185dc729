import * as Flags from '@oclif/core/flags';
import { ExitCode } from '../src/base/errors.ts';
import {
  briefProblem,
  isAgentWell,
  type StatusInput,
  type StatusOptions,
  statusText,
} from '../src/view/status.ts';
import type { StatusView } from '../src/view/types.ts';
import { BaseCommand } from './base.ts';

/** The controller whose presence says that nodes are probed. */
const HEALTH_CONTROLLER = 'cilium-health-ep';
/** A health agent that hangs must not keep the agent's state from being shown. */
const HEALTH_WAIT_MS = 3000;

export default class Status extends BaseCommand<typeof Status> {
  static override summary = "Show the state of the agent, of its parts and of the cluster's health";
  static override examples = ['<%= config.bin %> status --verbose', '<%= config.bin %> status -o json'];
  static override flags = {
    verbose: Flags.boolean({ description: 'everything that the --all-* flags show, and more' }),
    brief: Flags.boolean({ description: 'one line; exit 1 with the first problem' }),
    'all-addresses': Flags.boolean({ description: 'list allocated addresses' }),
    'all-controllers': Flags.boolean({ description: 'list controllers that do not fail too' }),
    'all-health': Flags.boolean({ description: 'list healthy nodes too' }),
    'all-nodes': Flags.boolean({ description: 'list healthy nodes too' }),
    'all-redirects': Flags.boolean({ description: 'list proxy redirects' }),
    'all-clusters': Flags.boolean({ description: 'list clusters that are ready too' }),
  };

  async run(): Promise<void> {
    const source = await this.source();
    const { flags } = this;
    const status = await source.healthz(flags.brief ? { brief: true } : {});
    if (!isAgentWell(status)) this.exitWith(ExitCode.finding);
    if (flags.brief) {
      await this.#brief(status);
      return;
    }
    const health = await this.#health(status);
    await this.print(status, () => this.#text({ status, health }));
  }

  async #brief(status: StatusView): Promise<void> {
    const problem = briefProblem(status);
    if (problem !== undefined) this.exitWith(ExitCode.finding);
    if (problem === undefined || this.format.kind !== 'text') await this.print(status, () => 'OK\n');
    else process.stderr.write(`error in ${problem}\n`);
  }

  async #health(status: StatusView): Promise<StatusInput['health']> {
    if (this.format.kind !== 'text') return undefined;
    const { controllers } = status;
    const probed = Array.isArray(controllers) && controllers.some(({ name }) => name === HEALTH_CONTROLLER);
    if (!probed) return undefined;
    const { health } = await this.clients();
    return health.status({ timeoutMs: HEALTH_WAIT_MS }).catch((error: unknown) => {
      if (this.flags.debug) process.stderr.write(`${String(error)}\n`);
      return 'unreachable' as const;
    });
  }

  async #text(input: StatusInput): Promise<string> {
    const { flags } = this;
    const options: StatusOptions = {
      compat: this.compat,
      verbose: flags.verbose,
      allAddresses: flags['all-addresses'],
      allControllers: flags['all-controllers'],
      allHealth: flags['all-health'] || flags['all-nodes'],
      allRedirects: flags['all-redirects'],
      allClusters: flags['all-clusters'],
      nowMs: Date.now(),
    };
    if (this.compat !== '2018') return statusText(input, options);
    const { statusText2018 } = await import('../src/view/status-2018.ts');
    return statusText2018(input, options);
  }
}
