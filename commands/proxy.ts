import * as Flags from '@oclif/core/flags';
import { programBuild } from '../src/agent/version.ts';
import { UsageError } from '../src/base/errors.ts';
import { createLog, LOG_LEVELS } from '../src/base/log.ts';
import { NO_PROXY_PORTS } from '../src/model/l7.ts';
import { PROXY_TRANSPORTS, type ProxyDescriptors, type ProxyListener } from '../src/model/proxy-protocol.ts';
import { BaseCommand } from './base.ts';
import { checked } from './support/checked.ts';
import { interruptSignal } from './support/interrupt.ts';

const listenerFlag = Flags.custom<ProxyListener>({ parse: checked(parseListener) });

const LISTENER_NAMES = Object.keys(NO_PROXY_PORTS) as readonly ProxyListener['name'][];

/** `http-ingress/tcp4=3`. @throws UsageError */
function parseListener(text: string): ProxyListener {
  const [, left, right, fd] = /^([a-z0-9-]+)\/([a-z]+[46])=(\d{1,4})$/.exec(text) ?? [];
  const name = LISTENER_NAMES.find((known) => known === left);
  const transport = PROXY_TRANSPORTS.find((known) => known === right);
  if (name === undefined || transport === undefined)
    throw new UsageError(`${JSON.stringify(text)} is no listener such as http-ingress/tcp4=3`, {
      code: 'LISTENER_INVALID',
    });
  return { name, transport, fd: Number(fd) };
}

/** IPv4's map first. @throws UsageError */
function conntrackMaps(fds: readonly number[], epochs: number | undefined): ProxyDescriptors['conntrack'] {
  const [ipv4, ipv6, ...more] = fds;
  if (ipv4 === undefined && epochs === undefined) return undefined;
  if (ipv4 !== undefined && ipv6 !== undefined && epochs !== undefined && more.length === 0)
    return { ipv4, ipv6, epochs };
  throw new UsageError(
    '--conntrack-fd is to be given twice, of IPv4 and of IPv6, and --epochs-fd beside them',
    { code: 'LISTENER_INVALID' },
  );
}

export default class ProxyCommand extends BaseCommand<typeof ProxyCommand> {
  static override hidden = true;
  static override summary = 'Run the L7 proxy of this node until SIGTERM';
  static override description =
    'Judges the requests of redirected flows by the policy that the agent sends. `ciliate agent` starts it with the sockets that it needs; it cannot run alone.';
  static override flags = {
    listener: listenerFlag({
      description: 'socket that redirected flows come to; may be repeated',
      helpValue: 'NAME/TRANSPORT=FD',
      multiple: true,
      multipleNonGreedy: true,
      required: true,
    }),
    'conntrack-fd': Flags.integer({
      description: 'conntrack map, of IPv4 and then of IPv6',
      helpValue: 'FD',
      multiple: true,
      multipleNonGreedy: true,
    }),
    'epochs-fd': Flags.integer({
      description: 'map of the epochs by which entries of conntrack are known to be out of date',
      helpValue: 'FD',
    }),
    'log-level': Flags.option({
      description: 'least level that is logged',
      options: LOG_LEVELS,
      default: 'info',
    })(),
  };

  async run(): Promise<void> {
    const { flags } = this;
    // Whatever the caller's mask: nobody else writes what this process makes.
    process.umask(0o022);
    const log = createLog({
      level: flags['log-level'],
      file: `${this.paths.logDir}/proxy.log`,
      stdout: process.stdout.isTTY === true,
      fields: { process: 'proxy' },
    });
    const interrupted = interruptSignal(['SIGINT', 'SIGTERM']);
    // The agent that started us may end: what it read from us is then nobody's.
    process.on('SIGHUP', () => undefined);
    const { createProxyProcess } = await import('../src/wiring/proxy.ts');
    const proxy = createProxyProcess({
      paths: this.paths,
      version: programBuild(),
      listeners: flags.listener,
      conntrack: conntrackMaps(flags['conntrack-fd'] ?? [], flags['epochs-fd']),
      log,
    });
    await proxy.start();
    log.info({ pid: process.pid, socket: this.paths.proxySocket }, 'proxy is up');
    if (!interrupted.aborted)
      await new Promise((resolve) => interrupted.addEventListener('abort', resolve, { once: true }));
    await proxy.stop();
    log.info({}, 'proxy has stopped');
  }
}
