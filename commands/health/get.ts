import { healthDaemonText } from '../../src/view/health-daemon.ts';
import { BaseCommand } from '../base.ts';

export default class HealthGet extends BaseCommand<typeof HealthGet> {
  static override summary = "Show the health agent's own state: uptime, load, and the agent beside it";

  async run(): Promise<void> {
    const { health } = await this.clients();
    const daemon = await health.healthz();
    await this.print(daemon, () => healthDaemonText(daemon, { compat: this.compat, nowMs: Date.now() }));
  }
}
