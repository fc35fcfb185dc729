import { createLog } from '../src/base/log.ts';
import { BaseCommand } from './base.ts';
import {
  DEFAULT_INTERVAL,
  DEFAULT_TIMEOUT_MS,
  healthAgentFlags,
  responderListens,
} from './support/health-agent-flags.ts';
import { interruptSignal } from './support/interrupt.ts';

export default class HealthAgent extends BaseCommand<typeof HealthAgent> {
  static override summary = 'Run the health agent of this node until SIGTERM';
  static override description =
    'Probes every node and health endpoint by ICMP and HTTP, answers the probes of others, serves results on health.sock and metrics for Prometheus. `ciliate agent` starts it; with --nodes it runs alone, also as `ciliate health --nodes FILE`.';
  static override examples = [
    '<%= config.bin %> health-agent --node-name n1 --listen 10.0.0.1:4240 --metrics-addr :9963',
    '<%= config.bin %> health --nodes nodes.yaml --node-name n1 --listen :4240',
    '<%= config.bin %> health --agent unix:///var/run/cilium/cilium.sock --listen :4340 --port 4340',
  ];
  static override flags = healthAgentFlags;

  async run(): Promise<void> {
    const { flags } = this;
    // Whatever the caller's mask: nobody else writes what this process makes.
    process.umask(0o022);
    const log = createLog({
      level: flags['log-level'],
      file: flags['log-file'] ?? `${this.paths.logDir}/health.log`,
      stdout: flags['log-stdout'] ?? process.stdout.isTTY === true,
      fields: {
        process: 'health',
        ...(flags['node-name'] === undefined ? {} : { node: flags['node-name'] }),
      },
    });
    const interrupted = interruptSignal(['SIGINT', 'SIGTERM']);
    // The agent that started us may end: what it read from us is then nobody's.
    process.on('SIGHUP', () => undefined);
    const { startHealthProcess } = await import('../src/wiring/health.ts');
    const { agentAddress } = await import('../src/api/address.ts');
    const running = await startHealthProcess({
      paths: this.paths,
      nodeName: flags['node-name'],
      agent: agentAddress({
        host: flags.agent ?? this.shared.host,
        env: process.env,
        stateDir: flags['state-dir'],
      }),
      nodesFile: flags.nodes,
      interval: flags.interval ?? DEFAULT_INTERVAL,
      timeoutMs: flags.timeout ?? DEFAULT_TIMEOUT_MS,
      port: flags.port,
      listen: responderListens(flags['listen-fd'] ?? [], flags.listen ?? []),
      allowedHosts: flags['allowed-host'],
      metricsAddress: flags['metrics-addr'],
      dashboardAddress: flags['dashboard-addr'],
      metricsNames: flags['metrics-names'],
      metricsPeersMax: flags['metrics-peers-max'],
      icmpMode: flags['icmp-mode'],
      sources: flags.source,
      devices: flags.device,
      dscp: flags.dscp,
      packetsPerSecond: flags['packets-per-second'],
      cpuPercent: flags['cpu-percent'],
      endpointNetns: flags['endpoint-netns'],
      policyPaths: flags['policy-paths'],
      log,
    });
    log.info(
      { pid: process.pid, socket: this.paths.healthSocket, listen: running.addresses },
      'health agent is up',
    );
    await untilAborted(interrupted);
    await running.stop();
    log.info({}, 'health agent has stopped');
  }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
