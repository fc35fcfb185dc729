import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  podLookup,
  type ServicePod,
  ServicesOfObjects,
} from '../../../src/agent/services/object-services.ts';
import { formatIp, parseIp } from '../../../src/base/ip.ts';
import { parseLabels } from '../../../src/model/labels.ts';
import type { PolicyInventory } from '../../../src/model/policy-inventory.ts';
import { frontendKey } from '../../../src/model/service.ts';
import { formatProblems, inventoryObjects, parsePolicy } from '../../../src/policy/index.ts';

function inventoryOf(text: string): PolicyInventory {
  const { errors, inventory } = parsePolicy(text, { file: 'x' });
  assert.deepEqual(errors, [], formatProblems(errors));
  const again = parsePolicy(JSON.stringify(inventoryObjects(inventory)), { file: 'y' });
  assert.deepEqual(again.inventory, inventory, 'it is written as it is read');
  return inventory;
}

/** `ClusterIP 10.96.0.1:80/TCP > 10.0.0.1:8080 active`. */
function shown(text: string, pods?: readonly ServicePod[]): readonly string[] {
  const services = new ServicesOfObjects(inventoryOf(text), 'n1').list(pods && podLookup(pods));
  return services.map(({ type, frontend, backends }) => {
    const texts = backends.map(({ address, port, state }) => `${formatIp(address)}:${port} ${state}`);
    return [type, frontendKey(frontend), '>', ...texts].join(' ');
  });
}

const pod = (
  labels: string,
  ips: readonly string[],
  namedPorts: ServicePod['namedPorts'] = [],
): ServicePod => ({
  labels: parseLabels([...labels.split(','), 'k8s:io.kubernetes.pod.namespace=default'], 'any'),
  addresses: ips.map(parseIp),
  namedPorts,
  isOwn: true,
});

const service = (spec: string, more = ''): string =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {${spec}}\n${more}`;
const slice = (name: string, body: string): string =>
  `---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: ${name}, labels: {kubernetes.io/service-name: web}}\n${body}\n`;
const PORT = 'ports: [{port: 80, targetPort: 8080}]';

describe('the services of Kubernetes objects', () => {
  it('have a frontend an address and port, of the kind that it is, each once', () => {
    const spec = `type: LoadBalancer, clusterIP: 10.96.0.1, externalIPs: [192.0.2.1, 192.0.2.9], ports: [{name: a, port: 80, nodePort: 30080}, {name: b, port: 53, protocol: UDP}]`;
    const status =
      'status: {loadBalancer: {ingress: [{ip: 192.0.2.9}, {ip: 192.0.2.10}, {ip: 192.0.2.11, ipMode: Proxy}, {hostname: a.b}]}}\n';
    assert.deepEqual(shown(service(spec, status)), [
      'ClusterIP 10.96.0.1:80/TCP >',
      'ExternalIPs 192.0.2.1:80/TCP >',
      'ExternalIPs 192.0.2.9:80/TCP >',
      'LoadBalancer 192.0.2.10:80/TCP >',
      'NodePort 0.0.0.0:30080/TCP >',
      'ClusterIP 10.96.0.1:53/UDP >',
      'ExternalIPs 192.0.2.1:53/UDP >',
      'ExternalIPs 192.0.2.9:53/UDP >',
      'LoadBalancer 192.0.2.10:53/UDP >',
    ]);
  });

  it('leave addresses out that pods cannot send to', () => {
    const ports = 'ports: [{port: 8080}]';
    const sliced = slice(
      'a',
      `endpoints: [{addresses: [127.0.0.1, 10.0.0.1, 0.0.0.0, 224.0.0.1]}]\n${ports}`,
    );
    assert.deepEqual(
      shown(service(`clusterIP: 10.96.0.1, externalIPs: [127.0.0.1, "::ffff:192.0.2.1"], ${PORT}`) + sliced),
      ['ClusterIP 10.96.0.1:80/TCP > 10.0.0.1:8080 active'],
    );
  });

  it('are none for what has no address: headless, ExternalName, without ports, not given one yet', () => {
    for (const spec of [
      `clusterIP: None, selector: {app: web}, ${PORT}`,
      `clusterIP: None, clusterIPs: [None], ${PORT}`,
      `type: ExternalName, externalName: a.b, clusterIP: '', ${PORT}`,
      'clusterIP: 10.96.0.1',
      `clusterIP: '', ${PORT}`,
    ])
      assert.deepEqual(shown(service(spec), []), [], spec);
  });

  it('have backends of the family of each frontend, where they have addresses of both', () => {
    const spec = 'clusterIPs: [10.96.0.1, "fd00:96::1"], ports: [{port: 80, nodePort: 30080}]';
    const ports = 'ports: [{port: 8080}]';
    const slices =
      slice('v4', `addressType: IPv4\nendpoints: [{addresses: [10.0.0.1]}]\n${ports}`) +
      slice('v6', `addressType: IPv6\nendpoints: [{addresses: ["fd00::1"]}]\n${ports}`);
    assert.deepEqual(shown(service(spec) + slices), [
      'ClusterIP 10.96.0.1:80/TCP > 10.0.0.1:8080 active',
      'ClusterIP [fd00:96::1]:80/TCP > fd00::1:8080 active',
      'NodePort 0.0.0.0:30080/TCP > 10.0.0.1:8080 active',
      'NodePort [::]:30080/TCP > fd00::1:8080 active',
    ]);
    assert.deepEqual(shown(service('ipFamilies: [IPv6], ports: [{port: 80, nodePort: 30080}]')), [
      'NodePort [::]:30080/TCP >',
    ]);
  });

  it('take what terminates as such, leave out what is not ready, and one that moves between slices is active', () => {
    const ports = 'ports: [{port: 8080}]';
    const body = `endpoints:
- {addresses: [10.0.0.1], conditions: {ready: true}}
- {addresses: [10.0.0.2], conditions: {ready: false, serving: true, terminating: true}}
- {addresses: [10.0.0.3], conditions: {ready: false, serving: false, terminating: true}}
- {addresses: [10.0.0.4], conditions: {ready: false}}
- {addresses: [10.0.0.5], conditions: {ready: true, terminating: true}}
- {addresses: [10.0.0.6]}
${ports}`;
    const other = `endpoints: [{addresses: [10.0.0.2], conditions: {ready: true}}]\n${ports}`;
    const text = service(`clusterIP: 10.96.0.1, ${PORT}`) + slice('a', body);
    assert.deepEqual(shown(text), [
      'ClusterIP 10.96.0.1:80/TCP > 10.0.0.1:8080 active 10.0.0.2:8080 terminating 10.0.0.3:8080 terminating 10.0.0.5:8080 active 10.0.0.6:8080 active',
    ]);
    for (const both of [
      text + slice('b', other),
      service(`clusterIP: 10.96.0.1, ${PORT}`) + slice('b', other) + slice('c', body),
    ])
      assert.match(shown(both).join(), /10\.0\.0\.2:8080 active/);
    const [{ addresses } = assert.fail()] = inventoryOf(text).addresses;
    assert.deepEqual(
      addresses.map(formatIp),
      ['10.0.0.1', '10.0.0.5', '10.0.0.6'],
      'rules see what is ready alone',
    );
  });

  it('take what terminates and still serves where nothing else is left', () => {
    const gone = (ip: string, serving: boolean) =>
      `- {addresses: [${ip}], conditions: {ready: false, serving: ${serving}, terminating: true}}`;
    const body = `endpoints:\n${gone('10.0.0.1', true)}\n${gone('10.0.0.2', false)}\nports: [{port: 8080}]`;
    const text = service(`clusterIP: 10.96.0.1, ${PORT}`) + slice('a', body);
    assert.deepEqual(shown(text), [
      'ClusterIP 10.96.0.1:80/TCP > 10.0.0.1:8080 active 10.0.0.2:8080 terminating',
    ]);
    const ready = slice('b', 'endpoints: [{addresses: [10.0.0.3]}]\nports: [{port: 8080}]');
    assert.match(shown(text + ready).join(), /10\.0\.0\.1:8080 terminating .*10\.0\.0\.3:8080 active/);
    const [{ addresses } = assert.fail()] = inventoryOf(text).addresses;
    assert.deepEqual(addresses, [], 'rules see what is ready alone');
  });

  it('stay on this node by their cluster addresses where they say so, and not by others', () => {
    const spec = `clusterIP: 10.96.0.1, selector: {app: web}, internalTrafficPolicy: Local, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]`;
    const pods = [pod('k8s:app=web', ['10.0.0.1']), { ...pod('k8s:app=web', ['10.0.0.2']), isOwn: false }];
    const wanted = [
      'ClusterIP 10.96.0.1:80/TCP > 10.0.0.1:8080 active',
      'NodePort 0.0.0.0:30080/TCP > 10.0.0.1:8080 active 10.0.0.2:8080 active',
    ];
    assert.deepEqual(shown(service(spec), pods), wanted);
    const ports = 'ports: [{port: 8080}]';
    const sliced = `endpoints: [{addresses: [10.0.0.1], nodeName: n1}, {addresses: [10.0.0.2], nodeName: n2}]\n${ports}`;
    assert.deepEqual(shown(service(spec) + slice('a', sliced)), wanted);
    const subsets = `subsets: [{addresses: [{ip: 10.0.0.1, nodeName: n1}, {ip: 10.0.0.2}], ${ports}}]`;
    const endpoints = `---\napiVersion: v1\nkind: Endpoints\nmetadata: {name: web}\n${subsets}\n`;
    assert.deepEqual(shown(service(spec) + endpoints), wanted);
    const [first, second] = new ServicesOfObjects(inventoryOf(service(spec)), 'n1').list(podLookup(pods));
    assert.deepEqual([first?.onlyLocal, second?.onlyLocal], [true, undefined]);
  });

  it('find the port of an address by the name and protocol of their own, in Endpoints and slices', () => {
    const spec =
      'clusterIP: 10.96.0.1, ports: [{name: http, port: 80, targetPort: www}, {name: dns, port: 53, protocol: UDP}]';
    const ports =
      'ports: [{name: http, port: 8080}, {name: http, port: 1, protocol: UDP}, {name: dns, port: 5353, protocol: UDP}, {name: dns}]';
    const endpoints = `---\napiVersion: v1\nkind: Endpoints\nmetadata: {name: web}\nsubsets:\n- {addresses: [{ip: 10.0.0.9}], ${ports}}\n- {addresses: [{ip: 10.0.0.8}], ports: [{name: http, port: 81}]}\n`;
    const sliced = slice('a', `endpoints: [{addresses: [10.0.0.1]}]\n${ports}`);
    assert.deepEqual(shown(service(spec) + endpoints), [
      'ClusterIP 10.96.0.1:80/TCP > 10.0.0.8:81 active 10.0.0.9:8080 active',
      'ClusterIP 10.96.0.1:53/UDP > 10.0.0.9:5353 active',
    ]);
    assert.deepEqual(
      shown(service(spec) + endpoints + sliced),
      [
        'ClusterIP 10.96.0.1:80/TCP > 10.0.0.1:8080 active',
        'ClusterIP 10.96.0.1:53/UDP > 10.0.0.1:5353 active',
      ],
      'slices before Endpoints, which mirror them',
    );
  });

  it('take the pods that they select where no object tells addresses, with named ports of each', () => {
    const spec = (target: string) =>
      `clusterIP: 10.96.0.1, selector: {app: web}, ports: [{port: 80, targetPort: ${target}}]`;
    const www = { name: 'www', protocol: 6, port: 8081 };
    const pods = [
      pod('k8s:app=web', ['10.0.0.2', 'fd00::2'], [www]),
      pod('k8s:app=web,k8s:tier=x', ['10.0.0.1'], [{ ...www, protocol: 17 }]),
      pod('k8s:app=db', ['10.0.0.3'], [www]),
      {
        ...pod('k8s:app=web', ['10.0.0.4'], [www]),
        labels: parseLabels(['k8s:app=web', 'k8s:io.kubernetes.pod.namespace=other'], 'any'),
      },
    ];
    assert.deepEqual(shown(service(spec('8080')), pods), [
      'ClusterIP 10.96.0.1:80/TCP > 10.0.0.1:8080 active 10.0.0.2:8080 active',
    ]);
    assert.deepEqual(shown(service(spec('"8080"')), pods), shown(service(spec('8080')), pods));
    assert.deepEqual(shown(service(spec('www')), pods), [
      'ClusterIP 10.96.0.1:80/TCP > 10.0.0.2:8081 active',
    ]);
    assert.deepEqual(shown(service(spec('8080'))), [], 'left alone while pods are not known');
    const empty = slice('a', 'endpoints: []');
    assert.deepEqual(shown(service(spec('8080')) + empty, pods), ['ClusterIP 10.96.0.1:80/TCP >']);
    assert.deepEqual(
      [service(spec('8080')), service(spec('8080')) + empty, service(`clusterIP: 10.96.0.1, ${PORT}`)].map(
        (text) => new ServicesOfObjects(inventoryOf(text), 'n1').usePods,
      ),
      [true, false, false],
    );
  });

  it('leave out backends of SCTP with another port than the frontend, whose checksum covers it', () => {
    const spec =
      'clusterIP: 10.96.0.1, selector: {app: web}, ports: [{port: 80, targetPort: 8080, protocol: SCTP, nodePort: 8080}]';
    assert.deepEqual(shown(service(spec), [pod('k8s:app=web', ['10.0.0.1'])]), [
      'ClusterIP 10.96.0.1:80/SCTP >',
      'NodePort 0.0.0.0:8080/SCTP > 10.0.0.1:8080 active',
    ]);
  });

  it('keep clients at their backends as long as they say, three hours unless they do', () => {
    const seconds = (affinity: string) =>
      new ServicesOfObjects(inventoryOf(service(`clusterIP: 10.96.0.1, ${PORT}, ${affinity}`)), 'n1').list(
        undefined,
      )[0]?.affinitySeconds;
    assert.equal(seconds('sessionAffinity: None'), 0);
    assert.equal(seconds('sessionAffinity: ClientIP'), 10_800);
    assert.equal(
      seconds('sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 30}}'),
      30,
    );
  });

  it('are refused with a port, protocol or address that is none', () => {
    for (const [spec, field] of [
      ['clusterIP: ten, ports: [{port: 80}]', 'spec.clusterIP'],
      ['clusterIP: 10.96.0.1, ports: [{port: 0}]', 'spec.ports[0].port'],
      ['clusterIP: 10.96.0.1, ports: [{}]', 'spec.ports[0].port'],
      ['clusterIP: 10.96.0.1, ports: [{port: 80, protocol: ICMP}]', 'spec.ports[0].protocol'],
      ['clusterIP: 10.96.0.1, ports: [{port: 80, targetPort: 65536}]', 'spec.ports[0].targetPort'],
      ['clusterIP: 10.96.0.1, ports: [{port: 80, nodePort: -1}]', 'spec.ports[0].nodePort'],
    ] as const) {
      const { errors } = parsePolicy(service(spec), { file: 'x' });
      assert.deepEqual(
        errors.map((problem) => problem.field),
        [field],
        spec,
      );
    }
  });
});
