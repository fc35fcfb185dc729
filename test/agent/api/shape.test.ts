import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as shape from '../../../src/agent/api/shape.ts';
import type * as Api from '../../../src/api/schema.ts';

/** A value as a careless implementation might give it: with holes that the types do not allow. */
const careless = <T>(value: unknown): T => value as T;

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

describe('answers with the objects that real clients follow without looking', () => {
  it('status: no null controller or cluster, an encryption object, all seven feature objects', () => {
    const status = shape.shapeStatus(
      careless({
        controllers: [null, { name: 'a' }],
        'cluster-mesh': { clusters: [null, { name: 'c2' }] },
        'kube-proxy-replacement': { mode: 'True' },
      }),
    );
    assert.deepEqual(status.controllers, [{ name: 'a' }]);
    assert.deepEqual(status['cluster-mesh']?.clusters, [{ name: 'c2' }]);
    assert.deepEqual(status.encryption, { mode: 'Disabled' });
    const features = status['kube-proxy-replacement']?.features;
    const names = [
      'nodePort',
      'sessionAffinity',
      'hostPort',
      'externalIPs',
      'socketLB',
      'socketLBTracing',
      'nat46X64',
    ];
    for (const name of names) assert.ok(isObject(features?.[name as keyof typeof features]), name);
  });

  it('status: service and gateway of NAT46 when it is on', () => {
    const on = { 'kube-proxy-replacement': { features: { nat46X64: { enabled: true } } } };
    const nat46 = shape.shapeStatus(on)['kube-proxy-replacement']?.features?.nat46X64;
    assert.deepEqual(nat46, { enabled: true, service: {}, gateway: {} });
  });

  it('config: realized options, the event ring, addressing and the map of settings', () => {
    const { spec, status } = shape.shapeConfig({});
    assert.deepEqual(spec, { options: {} });
    assert.deepEqual(status?.realized, { options: {} });
    for (const name of ['nodeMonitor', 'addressing', 'daemonConfigurationMap', 'immutable'] as const) {
      assert.ok(isObject(status?.[name]), name);
    }
  });

  it('endpoint: no null endpoint or address, a status with its state', () => {
    const endpoints = shape.shapeEndpoints(
      careless([
        null,
        { id: 1, status: { state: 'ready', networking: { addressing: [null, { ipv4: '10.0.0.1' }] } } },
        { id: 2 },
      ]),
    );
    assert.deepEqual(
      endpoints.map((endpoint) => endpoint.id),
      [1, 2],
    );
    assert.deepEqual(endpoints[0]?.status?.networking?.addressing, [{ ipv4: '10.0.0.1' }]);
    assert.equal(endpoints[0]?.status?.state, 'ready');
    assert.equal(endpoints[1]?.status?.state, 'invalid', 'an endpoint without a state is none that works');
    assert.deepEqual(endpoints[1]?.status?.networking?.addressing, []);
    assert.ok(isObject(endpoints[1]?.status?.policy?.realized));
  });

  it('endpoint config, labels; identities of endpoints; ip; services; debuginfo', () => {
    assert.deepEqual(shape.shapeEndpointConfig({}).realized?.options, {});
    assert.deepEqual(shape.shapeLabels({}).status, { realized: {} });
    assert.deepEqual(shape.shapeIdentityEndpoints([{ refCount: 1 }]), [{ refCount: 1, identity: {} }]);
    assert.deepEqual(shape.shapeIps([{ cidr: '::/0', identity: 2 }]), [
      { cidr: '::/0', identity: 2, metadata: {} },
    ]);
    const [service] = shape.shapeServices([
      { spec: { id: 3, 'frontend-address': { ip: '10.96.0.1', port: 80 } } },
    ]);
    assert.deepEqual(service?.spec?.flags, {});
    assert.deepEqual(service?.status?.realized?.['frontend-address'], {
      ip: '10.96.0.1',
      port: 80,
      scope: 'external',
      protocol: 'any',
    });
    const info = shape.shapeDebugInfo({});
    assert.ok(isObject(info.policy) && isObject(info['cilium-status']));
  });

  it('leaves what is there as it is', () => {
    const endpoint: Api.Endpoint = {
      id: 1,
      status: {
        state: 'ready',
        policy: { spec: { build: 2 }, realized: { build: 1 }, 'proxy-policy-revision': 4 },
        labels: { 'security-relevant': ['k8s:a=b'], realized: { user: ['k8s:a=b'] } },
      },
    };
    const shaped = shape.shapeEndpoint(endpoint);
    assert.deepEqual(shaped.status?.policy, endpoint.status?.policy);
    assert.deepEqual(shaped.status?.labels, endpoint.status?.labels);
  });
});
