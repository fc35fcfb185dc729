import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HealthClient } from '../../src/api/health-client.ts';
import { packageRoot } from '../../src/base/assets.ts';
import { classify, droppingShare } from './classifier.ts';
import { NetnsLab } from './netns.ts';
import { eventually, type StartedProcess, startProcess } from './process.ts';

const MAIN = join(packageRoot(), 'bin', 'main.ts');
export const MESH_METRICS_PORT = 9963;

export interface MeshNode {
  readonly name: string;
  readonly netns: string;
  readonly address: string;
  readonly client: HealthClient;
  readonly socket: string;
  readonly logFile: string;
  readonly agent: StartedProcess;
}

export interface MeshOptions {
  readonly nodes: number;
  /** TCP, host order. */
  readonly port?: number;
  /** Where the nodes stand, the first first; default: nowhere. */
  readonly zones?: readonly string[];
  /** More words for every `health-agent`. */
  readonly words?: readonly string[];
}

/**
 * Nodes in network namespaces on one bridge, each with a health agent that stands alone: `n1` is 10.66.0.1. The bridge's
 * namespace is a place of its own, 10.66.0.254.
 */
export class HealthMesh {
  readonly lab: NetnsLab;
  readonly folder = mkdtempSync(join(tmpdir(), 'mesh-'));
  readonly nodes: MeshNode[] = [];
  readonly hub: string;

  private constructor(lab: NetnsLab, hub: string) {
    this.lab = lab;
    this.hub = hub;
  }

  static async start({ nodes, port = 4240, zones = [], words = [] }: MeshOptions): Promise<HealthMesh> {
    const lab = new NetnsLab('m');
    const mesh = new HealthMesh(lab, await lab.namespace('hub'));
    try {
      await lab.ip('-n', mesh.hub, 'link', 'add', 'br0', 'type', 'bridge');
      await lab.ip('-n', mesh.hub, 'address', 'add', '10.66.0.254/24', 'dev', 'br0');
      await lab.ip('-n', mesh.hub, 'link', 'set', 'br0', 'up');
      const names = Array.from({ length: nodes }, (_, i) => `n${i + 1}`);
      const list = names.map((name, i) => ({ name, ipv4: `10.66.0.${i + 1}`, zone: zones[i] }));
      writeFileSync(mesh.nodesFile, JSON.stringify(list));
      for (const name of names) await mesh.#addNode(name, port, words);
      return mesh;
    } catch (error) {
      await mesh.stop();
      throw error;
    }
  }

  get nodesFile(): string {
    return join(this.folder, 'nodes.yaml');
  }

  async #addNode(name: string, port: number, words: readonly string[]): Promise<void> {
    const { lab, hub, folder } = this;
    const netns = await lab.namespace(name);
    const address = `10.66.0.${name.slice(1)}`;
    await lab.veth({ name: 'eth0', netns, addresses: [`${address}/24`] }, { name: `p${name}`, netns: hub });
    await lab.ip('-n', hub, 'link', 'set', `p${name}`, 'master', 'br0');
    const state = join(folder, name);
    const own = ['--node-name', name, '--state-dir', state, '--port', String(port)];
    const listen = ['--listen', `${address}:${port}`, '--metrics-addr', `${address}:${MESH_METRICS_PORT}`];
    const argv = [process.execPath, MAIN, 'health', '--nodes', this.nodesFile, ...own, ...listen, ...words];
    const agent = await startProcess(['nsenter', `--net=${lab.path(netns)}`, ...argv]);
    const socket = join(state, 'health.sock');
    const client = new HealthClient({ address: { kind: 'unix', path: socket } });
    this.nodes.push({
      name,
      netns,
      address,
      client,
      socket,
      logFile: join(state, 'log', 'health.log'),
      agent,
    });
  }

  node(name: string): MeshNode {
    const found = this.nodes.find((node) => node.name === name);
    if (found === undefined) throw new Error(`no node ${name}`);
    return found;
  }

  /** Lets this part of what goes to a node vanish on its way. @param share 0..1 */
  setLoss(name: string, share: number): Promise<void> {
    const port = { netns: this.hub, device: `p${name}` };
    return classify(this.lab, port, share === 0 ? undefined : droppingShare(share));
  }

  /** Waits until every node has measured every other by ICMP and HTTP. */
  async measured(timeoutMs = 40_000): Promise<void> {
    for (const { name, client, agent } of this.nodes) {
      const what = `${name} has measured all`;
      const all = async (): Promise<true | undefined> => {
        const status = await client.status().catch(() => undefined);
        const paths = status?.nodes?.map(({ host }) => host?.['primary-address']) ?? [];
        const known = paths.filter(
          (path) => path?.icmp?.latency !== undefined && path.http?.latency !== undefined,
        );
        return known.length === this.nodes.length ? true : undefined;
      };
      await eventually(what, all, { timeoutMs, everyMs: 250 }).catch((error: Error) => {
        throw new Error(`${error.message}\n${agent.output()}`);
      });
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map(({ agent }) => agent.stop('SIGKILL')));
    await this.lab.cleanUp();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
