import { type AgentOperations, ApiError, type CallContext } from '../../../src/api/operations.ts';

/** One call that reached the fake. */
export interface FakeCall {
  readonly name: string;
  readonly args: readonly unknown[];
}

/** An agent that answers every operation with next to nothing and remembers what it was asked. */
export class FakeAgent {
  readonly calls: FakeCall[] = [];
  readonly operations: AgentOperations;

  constructor(overrides: Partial<AgentOperations> = {}) {
    const record =
      <A extends unknown[], R>(name: string, answer: (...args: A) => R | Promise<R>) =>
      async (...args: A): Promise<R> => {
        this.calls.push({ name, args: args.filter((arg) => !isContext(arg)) });
        return answer(...args);
      };
    const nothing = (name: string) => record(name, () => undefined);
    const empty = (name: string) => record(name, () => []);
    const plain: AgentOperations = {
      healthz: record('healthz', () => ({ cilium: { state: 'Ok' as const } })),
      getConfig: record('getConfig', () => ({})),
      patchConfig: nothing('patchConfig'),
      listEndpoints: empty('listEndpoints'),
      deleteEndpoints: record('deleteEndpoints', () => 0),
      getEndpoint: record('getEndpoint', () => ({ id: 1 })),
      putEndpoint: record('putEndpoint', () => ({ id: 1 })),
      patchEndpoint: record('patchEndpoint', () => ({ id: 1 })),
      deleteEndpoint: record('deleteEndpoint', () => 0),
      getEndpointConfig: record('getEndpointConfig', () => ({})),
      patchEndpointConfig: nothing('patchEndpointConfig'),
      getEndpointLabels: record('getEndpointLabels', () => ({})),
      patchEndpointLabels: nothing('patchEndpointLabels'),
      getEndpointLog: empty('getEndpointLog'),
      getEndpointHealth: record('getEndpointHealth', () => ({})),
      listIdentities: empty('listIdentities'),
      getIdentity: record('getIdentity', (id: number) => {
        if (id === 404) throw new ApiError(404, 'no identity 404');
        return { id };
      }),
      listIdentityEndpoints: empty('listIdentityEndpoints'),
      getPolicy: record('getPolicy', () => ({ revision: 1, policy: '[]' })),
      putPolicy: record('putPolicy', () => ({ revision: 2, policy: '[]' })),
      resolvePolicy: record('resolvePolicy', () => ({ verdict: 'allowed', log: '' })),
      getPolicyObjects: record('getPolicyObjects', () => ({ revision: 1, objects: '[]' })),
      deletePolicyObjects: record('deletePolicyObjects', () => ({ revision: 3, policy: '[]' })),
      deletePolicy: record('deletePolicy', () => ({ revision: 3, policy: '[]' })),
      getPolicySelectors: empty('getPolicySelectors'),
      getPolicySubjectSelectors: empty('getPolicySubjectSelectors'),
      listPolicyRules: empty('listPolicyRules'),
      listPolicyFlows: record('listPolicyFlows', () => ({ flows: [] })),
      listFqdnCache: empty('listFqdnCache'),
      listEndpointFqdnCache: empty('listEndpointFqdnCache'),
      deleteFqdnCache: nothing('deleteFqdnCache'),
      getFqdnNames: record('getFqdnNames', () => ({ DNSPollNames: [], FQDNPolicySelectors: [] })),
      listIps: empty('listIps'),
      allocateIps: record('allocateIps', () => ({ address: {}, 'host-addressing': {} })),
      allocateIp: nothing('allocateIp'),
      releaseIp: nothing('releaseIp'),
      listNodes: record('listNodes', () => ({ self: 'n1', nodes: [{ name: 'n1' }] })),
      listNodeIds: empty('listNodeIds'),
      listMaps: record('listMaps', () => ({ maps: [] })),
      getMap: record('getMap', () => ({ path: '/m', cache: [] })),
      listServices: empty('listServices'),
      getService: record('getService', (id: number) => ({ spec: { id } })),
      putService: record('putService', (id: number) => ({ service: { spec: { id } }, created: true })),
      deleteService: nothing('deleteService'),
      getDebugInfo: record('getDebugInfo', () => ({})),
      getMetrics: record('getMetrics', () => 'x 1\n'),
    };
    this.operations = { ...plain, ...overrides };
  }
}

function isContext(value: unknown): value is CallContext {
  return typeof value === 'object' && value !== null && 'signal' in value;
}
