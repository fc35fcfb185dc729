import * as Flags from '@oclif/core/flags';
import type { ResponderListen } from '../probes/responder/index.ts';
import { UsageError } from '../src/base/errors.ts';
import { createLog, LOG_LEVELS } from '../src/base/log.ts';
import {
  type ListenAddress,
  parseInteger,
  parseListenAddress,
  parseNodeName,
} from '../src/base/option-parsers.ts';
import type { ProbeInterval } from '../src/health/index.ts';
import { parseDuration } from '../src/view/duration.ts';
import { BaseCommand } from './base.ts';
import { interruptSignal } from './support/interrupt.ts';

const DEFAULT_PORT = 4240;

function durationMs(text: string, least: number): number {
  const ns = parseDuration(text);
  if (ns !== undefined && Number(ns) >= least * 1e6) return Number(ns) / 1e6;
  throw new UsageError(
    `${JSON.stringify(text)} is not a duration of at least ${least}ms, such as 500ms or 10s`,
  );
}

function parseInterval(text: string): ProbeInterval {
  const ratio = /^auto(?::(0(?:\.\d+)?|1(?:\.0+)?))?$/.exec(text);
  if (ratio !== null) return { kind: 'ratio', ratio: Number(ratio[1] ?? '0.5') };
  return { kind: 'fixed', ms: durationMs(text, 100) };
}

const intervalFlag = Flags.custom<ProbeInterval>({ parse: (text) => Promise.resolve(parseInterval(text)) });
const durationFlag = Flags.custom<number>({ parse: (text) => Promise.resolve(durationMs(text, 1)) });
const addressFlag = Flags.custom<ListenAddress>({
  parse: (text) => Promise.resolve(parseListenAddress(text)),
});
const nameFlag = Flags.custom<string>({ parse: (text) => Promise.resolve(parseNodeName(text)) });
const numberFlag = (least: number, most: number) =>
  Flags.custom<number>({ parse: (text) => Promise.resolve(parseInteger(least, most)(text)) });

export default class HealthAgent extends BaseCommand<typeof HealthAgent> {
  static override summary = 'Run the health agent of this node until SIGTERM';
  static override description =
    'Probes every node and health endpoint by ICMP and HTTP, answers the probes of others, serves results on health.sock and metrics for Prometheus. `ciliate agent` starts it; with --nodes it runs alone.';
  static override examples = [
    '<%= config.bin %> health-agent --node-name n1 --listen 10.0.0.1:4240 --metrics-addr :9963',
    '<%= config.bin %> health-agent --nodes nodes.yaml --listen :4240',
  ];
  static override flags = {
    agent: Flags.string({
      description: "the agent's API, whose node list is followed",
      helpValue: 'ADDRESS',
    }),
    nodes: Flags.string({ description: 'node list of JSON or YAML: no agent is needed', helpValue: 'FILE' }),
    'node-name': nameFlag({ description: 'name of this node', helpValue: 'NAME' }),
    interval: intervalFlag({
      description:
        "length of one round over all addresses; `auto[:RATIO]`: grows with their number as Cilium's does",
      helpValue: 'DURATION',
      default: { kind: 'fixed', ms: 10_000 } as ProbeInterval,
      defaultHelp: () => Promise.resolve('10s'),
    }),
    timeout: durationFlag({
      description: 'how long an answer is waited for',
      helpValue: 'DURATION',
      default: 1000,
    }),
    port: numberFlag(
      1,
      65535,
    )({
      description: "port of the nodes' responders",
      default: DEFAULT_PORT,
    }),
    listen: addressFlag({
      description: 'answer probes of others here; may be repeated',
      helpValue: 'ADDRESS:PORT',
      multiple: true,
      multipleNonGreedy: true,
    }),
    'listen-fd': numberFlag(
      3,
      1023,
    )({
      description: 'answer probes of others on this listening descriptor; may be repeated',
      helpValue: 'FD',
      multiple: true,
      multipleNonGreedy: true,
    }),
    'metrics-addr': addressFlag({
      description: 'serve /metrics here too, besides health.sock',
      helpValue: 'ADDRESS:PORT',
    }),
    source: Flags.string({
      description: 'address that probes leave from, one a family',
      multiple: true,
      multipleNonGreedy: true,
    }),
    'icmp-mode': Flags.option({
      description: 'kind of ICMP socket',
      options: ['auto', 'raw', 'datagram'] as const,
      default: 'auto',
    })(),
    'log-level': Flags.option({
      description: 'least level that is logged',
      options: LOG_LEVELS,
      default: 'info',
    })(),
    'log-file': Flags.string({ description: 'JSON lines; default: log/health.log in the state folder' }),
    'log-stdout': Flags.boolean({ description: 'log to the standard output too', allowNo: true }),
  };

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
      interval: flags.interval,
      timeoutMs: flags.timeout,
      port: flags.port,
      listen: this.#listen(),
      metricsAddress: flags['metrics-addr'],
      icmpMode: flags['icmp-mode'],
      sources: flags.source,
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

  #listen(): ResponderListen[] {
    const { listen = [], 'listen-fd': fds = [] } = this.flags;
    return [
      ...fds.map((fd) => ({ kind: 'fd', fd }) as const),
      ...listen.flatMap(({ host, port }) =>
        (host === undefined ? ['0.0.0.0', '::'] : [host]).map(
          (one) => ({ kind: 'address', host: one, port }) as const,
        ),
      ),
    ];
  }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
