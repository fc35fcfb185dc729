import { closeSync } from 'node:fs';
import { join } from 'node:path';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { NodePaths } from '../base/paths.ts';
import type { Sockets } from '../base/sockets/types.ts';
import type { Datapath } from '../datapath/types.ts';
import type { L7Policy, ProxyPorts } from '../model/l7.ts';
import type { ProxyEndpoint } from '../model/proxy-protocol.ts';
import type { Controllers } from './controllers.ts';
import { processRef, signalProcess, wordsOf } from './process-ref.ts';
import { ProxyClient, type ProxyClientDeps } from './proxy-client.ts';
import { inheritedByProxy, withReducedRights } from './proxy-launch.ts';
import { ProxyListeners } from './proxy-listeners.ts';
import type { ProxyPart, ProxyState } from './proxy-part.ts';
import { type Inherited, SurvivingProcess } from './surviving-process.ts';

export interface ProxyManagerOptions {
  readonly paths: NodePaths;
  /** Program and first words of the proxy process. */
  readonly command: readonly string[];
  /** Undefined: the process keeps all rights, and `status` says so. */
  readonly setpriv: string | undefined;
  /** What a proxy says of itself that this agent would start; undefined: whatever it says is right. */
  readonly build?: string | undefined;
}

export interface ProxyManagerDeps extends Omit<ProxyClientDeps, 'log'> {
  readonly sockets: Pick<Sockets, 'openSocket'>;
  readonly datapath: Pick<Datapath, 'openConntrack'>;
  readonly controllers: Controllers;
  readonly log: Logger;
  readonly now: () => Date;
}

const CONTROLLER = 'l7-proxy';
const CHECK_INTERVAL_MS = 5_000;
const RETRY_MS = 100;
/** Time that a started process has before its silence is told. */
const START_MS = 5_000;

/** The proxy process of a node, by its files. */
export function createProxyProcess(
  { paths, command }: Pick<ProxyManagerOptions, 'paths' | 'command'>,
  log: Logger,
  onExit: () => void,
): SurvivingProcess {
  return new SurvivingProcess(
    {
      name: 'proxy',
      command,
      startedFile: join(paths.pidDir, 'proxy.started.json'),
      outputFile: join(paths.logDir, 'proxy.out'),
    },
    log,
    onExit,
  );
}

/**
 * Keeps the node's proxy process going, once a rule needs it, and tells it the policy. Whatever happens to either, what
 * is redirected never passes unjudged: without the process no socket takes it, and the datapath drops it.
 */
export class ProxyManager implements ProxyPart {
  readonly #options: ProxyManagerOptions;
  readonly #deps: ProxyManagerDeps;
  readonly #listeners: ProxyListeners;
  readonly #process: SurvivingProcess;
  readonly #client: ProxyClient;
  #check: { trigger(): Promise<void> } | undefined;
  #needed = false;
  #failure: string | undefined;
  /** Version and build of the process that answered last. */
  #answering: string | undefined;

  constructor(options: ProxyManagerOptions, deps: ProxyManagerDeps) {
    this.#options = options;
    this.#deps = deps;
    const { paths, setpriv } = options;
    this.#listeners = new ProxyListeners(join(paths.stateDir, 'proxy-ports.json'), deps);
    const command = setpriv === undefined ? options.command : withReducedRights(setpriv, options.command);
    this.#process = createProxyProcess({ paths, command }, deps.log, () => void this.#check?.trigger());
    this.#client = new ProxyClient(paths.proxySocket, {
      ...deps,
      onHello: (pid, version) => this.#onHello(pid, version),
    });
  }

  get ports(): ProxyPorts {
    return this.#listeners.ports;
  }

  async start(): Promise<void> {
    const known = this.#listeners.load();
    this.#check = this.#deps.controllers.add({
      name: CONTROLLER,
      intervalMs: CHECK_INTERVAL_MS,
      run: () => this.#ensure(),
    });
    if (!this.#process.find()) return;
    // Nobody can tell where one listens whose ports are lost.
    if (known) await this.need().catch(() => undefined);
    else await this.#process.stop();
  }

  async stop(): Promise<void> {
    this.#check = undefined;
    this.#client.stop();
    await this.#deps.controllers.remove(CONTROLLER);
  }

  async need(): Promise<void> {
    if (this.#needed && this.#process.isRunning) return;
    this.#needed = true;
    await this.#check?.trigger();
  }

  async apply(policy: L7Policy, endpoints: readonly ProxyEndpoint[], timeoutMs: number): Promise<boolean> {
    const applied = this.#client.push(policy, endpoints).then(() => true);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), timeoutMs);
    });
    try {
      return await Promise.race([applied, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  dnsApplied(id: number): void {
    this.#client.dnsApplied(id);
  }

  status(): ProxyState {
    if (!this.#needed) return { state: 'Off', message: '' };
    if (this.#failure !== undefined) return { state: 'Failure', message: this.#failure };
    if (this.#client.silentMs > 0) {
      const late = this.#client.silentMs > START_MS;
      const message = `the proxy does not answer${late ? '' : ' yet'}: what it has to judge is dropped`;
      return { state: late ? 'Failure' : 'Warning', message };
    }
    if (this.#options.setpriv === undefined)
      return {
        state: 'Warning',
        message: 'the proxy runs with all rights: setpriv of util-linux is missing',
      };
    const { build } = this.#options;
    if (build !== undefined && this.#answering !== undefined && this.#answering !== build)
      return { state: 'Warning', message: this.#outdated(this.#answering, build) };
    return { state: 'Ok', message: '' };
  }

  /** A proxy of before an upgrade keeps its connections, and its code. */
  #outdated(answering: string, build: string): string {
    const { pid } = this.#process;
    return `the proxy was started by another build (${answering}, this agent is ${build}) and goes on: end process ${pid} when its connections may end, and the agent starts a new one`;
  }

  async #ensure(): Promise<void> {
    if (!this.#needed) return;
    try {
      await this.#process.ensure({ args: this.#args(), place: this.#place(), open: () => this.#open() });
      this.#failure = undefined;
    } catch (error) {
      this.#failure = errorText(error);
      throw error;
    }
    this.#client.start();
    this.#client.hurry();
  }

  /**
   * An agent that dies between the start of its proxy and the record of it leaves one that nobody knows of, with the
   * socket and the ports of the one that is to be.
   */
  #onHello(pid: number, version: string): void {
    this.#answering = version;
    const { stateDir } = this.#options.paths;
    if (pid === this.#process.pid || !wordsOf(pid).includes(stateDir)) return;
    const ref = processRef(pid);
    if (ref === undefined) return;
    this.#deps.log.warn({ pid }, 'a proxy that nobody knows of answers: it is ended');
    signalProcess(ref, 'SIGKILL');
    setTimeout(() => void this.#check?.trigger(), RETRY_MS).unref();
  }

  #args(): readonly string[] {
    const { stateDir, bpfDir } = this.#options.paths;
    return ['--state-dir', stateDir, '--bpf-dir', bpfDir];
  }

  /** The maps that its descriptors are of. */
  #place(): string {
    const conntrack = this.#deps.datapath.openConntrack?.();
    if (conntrack === undefined) return '';
    for (const { fd } of inheritedByProxy([], conntrack)) closeSync(fd);
    return conntrack.id;
  }

  #open(): readonly Inherited[] {
    const conntrack = this.#deps.datapath.openConntrack?.();
    try {
      return inheritedByProxy(this.#listeners.open(), conntrack);
    } catch (error) {
      for (const { fd } of inheritedByProxy([], conntrack)) closeSync(fd);
      throw error;
    }
  }
}
