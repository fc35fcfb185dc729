import * as Flags from '@oclif/core/flags';
import { SourceError } from '../src/api/source-error.ts';
import { BaseCommand } from './base.ts';

export default class Version extends BaseCommand<typeof Version> {
  static override summary = 'Show the versions of this program and of the agent';
  static override flags = {
    client: Flags.boolean({ char: 'c', description: 'do not ask the agent' }),
  };

  async run(): Promise<void> {
    const client = `${this.config.version} node ${process.versions.node} linux/${process.arch}`;
    const daemon = this.flags.client ? undefined : await this.#daemon();
    const value = {
      Client: { Version: client },
      ...(daemon === undefined ? {} : { Daemon: { Version: daemon } }),
    };
    await this.print(value, () => `Client: ${client}\n${daemon === undefined ? '' : `Daemon: ${daemon}\n`}`);
  }

  /** The agent's version; without an agent a word on stderr, since the client's is still an answer. */
  async #daemon(): Promise<string | undefined> {
    const { agent } = await this.clients();
    try {
      return (await agent.debugInfo())['cilium-version'] ?? undefined;
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      process.stderr.write(`Daemon: ${error.message}\n`);
      return undefined;
    }
  }
}
