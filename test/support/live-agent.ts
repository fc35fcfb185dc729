import { join } from 'node:path';
import { Agent } from '../../src/agent/agent.ts';
import { noHealth } from '../../src/agent/health-part.ts';
import type { NetworkSetup } from '../../src/agent/network-setup.ts';
import { defaultAgentOptions } from '../../src/agent/options.ts';
import { noProxy } from '../../src/agent/proxy-part.ts';
import { AgentClient } from '../../src/api/client.ts';
import type * as Api from '../../src/api/schema.ts';
import { parseCidr } from '../../src/base/ip.ts';
import { silentLog } from '../../src/base/log.ts';
import { nodePaths } from '../../src/base/paths.ts';
import { loadSockets } from '../../src/base/sockets/index.ts';
import { createBpfDatapath } from '../../src/datapath/index.ts';
import type { Datapath } from '../../src/datapath/types.ts';
import { LocalStore } from '../../src/store/index.ts';
import { type DatapathLab, NODE4 } from './datapath-lab.ts';

/** The lab has made the interfaces and routes. */
function networkOf(netns: string): NetworkSetup {
  const none = async (): Promise<void> => undefined;
  return {
    prepareNode: none,
    addEndpoint: none,
    removeEndpoint: none,
    syncNodes: none,
    removeAll: none,
    interfaceIndex: async (name) => loadSockets().interfaceIndex(name, netns),
    interfaceKind: async () => 'veth',
  };
}

export interface LiveAgent {
  readonly agent: Agent;
  readonly client: AgentClient;
  readonly storeFile: string;
}

/** The store that the agent in `folder` shares. */
export function liveStore(storeFile: string): LocalStore {
  const quiet = { info: () => undefined, warn: () => undefined };
  return new LocalStore({ path: storeFile, pollMs: 50 }, { log: quiet });
}

/**
 * An agent with the real datapath on the lab's node. The lab's own datapath must be stopped.
 * @param wrap puts something between the agent and the datapath
 */
export function createLiveAgent(
  lab: DatapathLab,
  folder: string,
  wrap: (datapath: Datapath) => Datapath = (datapath) => datapath,
): LiveAgent {
  const netns = lab.net.path(lab.node);
  const paths = nodePaths(folder, lab.bpfDir);
  const storeFile = join(folder, 'store.db');
  const agent = new Agent({
    options: {
      ...defaultAgentOptions(),
      'node-name': 'bench',
      'state-dir': folder,
      'ipv4-range': parseCidr('10.66.0.0/24'),
      'ipv6-range': parseCidr('fd66::/112'),
      'cluster-cidrs': [parseCidr('10.66.0.0/16')],
      'metrics-address': undefined,
      'liveness-address': undefined,
    },
    paths,
    node: { ipv4: NODE4, ipv6: undefined, devices: ['wire'] },
    version: 'bench',
    storeSpec: `local:${storeFile}`,
    store: liveStore(storeFile),
    datapath: wrap(createBpfDatapath({ bpfDir: lab.bpfDir, netns })),
    flows: () => [],
    network: networkOf(netns),
    events: {
      start: async () => undefined,
      stop: async () => undefined,
      publish: () => undefined,
      heard: () => false,
      lost: () => 0,
    },
    health: () => noHealth,
    proxy: () => noProxy,
    log: silentLog,
  });
  return {
    agent,
    storeFile,
    client: new AgentClient({ address: { kind: 'unix', path: paths.agentSocket } }),
  };
}

const macText = (mac: Uint8Array): string =>
  Buffer.from(mac)
    .toString('hex')
    .replace(/..(?!$)/g, '$&:');

/** An endpoint with the label `k8s:role`, on a device of the lab. */
export function endpointRequest(
  role: string,
  device: {
    readonly name: string;
    readonly ipv4: string;
    readonly mac: Uint8Array;
    readonly hostMac: Uint8Array;
  },
): Api.EndpointChangeRequest {
  return {
    state: 'waiting-for-identity',
    labels: [`k8s:role=${role}`],
    'interface-name': device.name,
    addressing: { ipv4: device.ipv4 },
    mac: macText(device.mac),
    'host-mac': macText(device.hostMac),
    'sync-build-endpoint': true,
  };
}
