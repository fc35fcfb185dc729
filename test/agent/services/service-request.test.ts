import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readServiceSpec } from '../../../src/agent/services/service-request.ts';
import { serviceSpecView } from '../../../src/agent/services/service-view.ts';
import type * as Api from '../../../src/api/schema.ts';

const FRONTEND = { ip: '10.96.0.1', port: 80 };
const BACKEND = { ip: '10.0.0.1', port: 8080 };

function withFlags(flags: Api.ServiceFlags): Api.ServiceSpec {
  return { 'frontend-address': FRONTEND, flags };
}

function withBackends(...backends: readonly Partial<Api.BackendAddress>[]): Api.ServiceSpec {
  return {
    'frontend-address': FRONTEND,
    'backend-addresses': backends.map((backend) => ({ ...BACKEND, ...backend })),
  };
}

function withFrontend(frontend: Api.FrontendAddress, ...backends: Api.BackendAddress[]): Api.ServiceSpec {
  return { 'frontend-address': { ...FRONTEND, ...frontend }, 'backend-addresses': backends };
}

const REFUSED: readonly [string, Api.ServiceSpec][] = [
  ['frontend-address', {}],
  ['service.id', { ...withFlags({}), id: 4 }],
  ['frontend-address.ip', withFrontend({ ip: '10.96.0' })],
  ['frontend-address.ip', withFrontend({ ip: '' })],
  ['frontend-address.ip', withFrontend({ ip: '224.0.0.1' })],
  ...['ff02::1', '127.0.0.1', '::1', '::ffff:10.96.0.1', '169.254.42.1', 'fd63:696c::1'].map(
    (ip): [string, Api.ServiceSpec] => ['frontend-address.ip', withFrontend({ ip })],
  ),
  ['frontend-address.ip', withFrontend({ ip: '0.0.0.0' })],
  ['frontend-address.ip', withFrontend({ ip: '::' })],
  ['frontend-address.port', withFrontend({ port: 0 })],
  ['frontend-address.port', { 'frontend-address': { ip: '10.96.0.1' } }],
  ['frontend-address.protocol', withFrontend({ protocol: 'any' })],
  ['frontend-address.protocol', withFrontend({ protocol: 'icmp' })],
  ['frontend-address.scope', withFrontend({ scope: 'internal' })],
  ['backend-addresses[1].ip', withBackends({}, { ip: 'ten' })],
  ['backend-addresses[0].ip', withBackends({ ip: 'fd00::1' })],
  ['backend-addresses[0].ip', withFrontend({ ip: 'fd00::1' }, BACKEND)],
  ['backend-addresses[0].ip', withBackends({ ip: '0.0.0.0' })],
  ['backend-addresses[0].ip', withBackends({ ip: '127.0.0.1' })],
  ['backend-addresses[0].ip', withBackends({ ip: '169.254.42.1' })],
  ['backend-addresses[0]', withBackends(FRONTEND)],
  ['backend-addresses[0].port', withBackends({ port: 0 })],
  ['backend-addresses[0].port', { ...withFlags({}), 'backend-addresses': [{ ip: '10.0.0.1' }] }],
  ['backend-addresses[0].protocol', withBackends({ protocol: 'UDP' })],
  ['backend-addresses[0].state', withBackends({ state: 'toString' })],
  ['backend-addresses[1]', withBackends({}, {})],
  ['backend-addresses[].weight', withBackends({ weight: 1 }, { ip: '10.0.0.2' })],
  ['backend-addresses[0].port', withFrontend({ protocol: 'sctp' }, BACKEND)],
  ['flags.type', withFlags({ type: 'LocalRedirect' })],
  ['flags.type', withFlags({ type: 'toString' })],
  ['flags.name', withFlags({ name: 'x'.repeat(254) })],
  ['flags.namespace', withFlags({ namespace: 'x'.repeat(254) })],
  ['flags.affinityTimeout', withFlags({ affinityTimeout: -1 })],
  ['flags.affinityTimeout', withFlags({ affinityTimeout: 86_401 })],
  ['flags.trafficPolicy', withFlags({ trafficPolicy: 'Local' })],
  ['flags.extTrafficPolicy', withFlags({ extTrafficPolicy: 'Local' })],
  ['flags.intTrafficPolicy', withFlags({ intTrafficPolicy: 'Local' })],
  ['flags.natPolicy', withFlags({ natPolicy: 'Nat46' })],
  ['flags.healthCheckNodePort', withFlags({ healthCheckNodePort: 32_000 })],
  ['updateServices', { ...withFlags({}), updateServices: true }],
];

describe('a service as callers of the API want it', () => {
  for (const [field, spec] of REFUSED) {
    it(`is refused for its ${field}: ${JSON.stringify(spec).slice(0, 150)}`, () => {
      assert.throws(() => readServiceSpec(3, spec), { status: 400, field });
    });
  }

  it('has as many backends at most as the datapath has room for', () => {
    const backends = (count: number) =>
      Array.from({ length: count }, (_, i) => ({ ip: `10.1.${i >> 8}.${i & 255}` }));
    assert.equal(readServiceSpec(3, withBackends(...backends(32_768))).backends.length, 32_768);
    assert.throws(() => readServiceSpec(3, withBackends(...backends(32_769))), {
      field: 'backend-addresses',
    });
  });

  it('is refused with an id that does not fit', () => {
    for (const id of [-1, 65_536]) assert.throws(() => readServiceSpec(id, withFlags({})), { field: 'id' });
  });

  it('is what the API tells of it', () => {
    for (const spec of [
      withBackends({ state: 'terminating' }, { ip: '10.0.0.2', state: 'quarantined' }),
      withFrontend({ ip: 'fd00::1', protocol: 'udp' }, { ip: 'fd00::2', port: 53, state: 'maintenance' }),
      withFrontend({ ip: '0.0.0.0' }),
      withFrontend({ protocol: 'sctp' }, { ip: '10.0.0.1', port: 80 }),
    ].map((one) => ({
      ...one,
      flags: { type: 'NodePort', name: 'n', namespace: 's', affinityTimeout: 30 },
    }))) {
      const service = readServiceSpec(3, spec);
      assert.deepEqual(readServiceSpec(3, serviceSpecView(service)), service);
    }
  });

  it('takes states of Cilium, and weights that say nothing', () => {
    const spec = withBackends({ state: 'terminating-not-serving', weight: 5 }, { ip: '10.0.0.2', weight: 5 });
    assert.deepEqual(
      readServiceSpec(3, spec).backends.map(({ state }) => state),
      ['terminating', 'active'],
    );
  });
});
