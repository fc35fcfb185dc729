import { Endpoint, type EndpointSpec } from '../../src/agent/endpoint.ts';

export const spec: EndpointSpec = {
  id: 7,
  interfaceName: 'lxc7',
  interfaceIndex: 12,
  mac: '02:00:00:00:00:01',
  hostMac: '02:00:00:00:00:02',
  ipv4: '10.0.1.9',
  ipv6: 'fd00:1::9',
  containerId: 'c7',
  containerName: undefined,
  containerInterfaceName: 'eth0',
  netnsPath: '/run/netns/x',
  dockerEndpointId: undefined,
  dockerNetworkId: undefined,
  k8sPodName: 'web',
  k8sNamespace: 'default',
  namedPorts: [{ name: 'web', protocol: 6, port: 8080 }],
};
export const endpoint = (id = 7): Endpoint =>
  new Endpoint({ spec: { ...spec, id }, labels: [], state: 'creating', now: () => new Date(0) });
