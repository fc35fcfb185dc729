import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { Routes } from '../../probes/engine/index.ts';
import { loadSockets } from '../../src/base/sockets/index.ts';
import { NetnsLab } from '../support/netns.ts';
import { rootOrSkip } from '../support/privilege.ts';

describe('routes of a namespace', { skip: rootOrSkip() }, () => {
  const lab = new NetnsLab('r');
  let here = '';
  let netnsFd = -1;
  let routes: Routes;
  const index = (name: string): number => loadSockets().interfaceIndex(name, lab.path(here));

  before(async () => {
    here = await lab.namespace('a');
    const there = await lab.namespace('b');
    for (const i of [0, 1]) {
      await lab.veth(
        { name: `eth${i}`, netns: here, addresses: [`10.${i}.0.1/24`, `fd0${i}::1/64`] },
        { name: `eth${i}`, netns: there, addresses: [`10.${i}.0.2/24`, `fd0${i}::2/64`] },
      );
    }
    const ways = ['nexthop', 'via', '10.0.0.2', 'nexthop', 'via', '10.1.0.2'];
    await lab.ip('-n', here, 'route', 'add', '10.9.0.0/16', ...ways);
    await lab.ip('-n', here, 'route', 'add', 'blackhole', '10.8.0.0/16');
    const ways6 = ['nexthop', 'via', 'fd00::2', 'nexthop', 'via', 'fd01::2'];
    await lab.ip('-n', here, '-6', 'route', 'add', 'fd09::/64', ...ways6);
    netnsFd = openSync(lab.path(here), 'r');
    routes = new Routes(netnsFd);
  });

  after(async () => {
    routes.close();
    routes.close();
    closeSync(netnsFd);
    await lab.cleanUp();
  });

  it('name the device of an address, and the loopback for our own', () => {
    assert.deepEqual(routes.devices(['10.0.0.2']), [index('eth0')]);
    assert.deepEqual(routes.devices(['fd01::77']), [index('eth1')]);
    assert.deepEqual(routes.devices(['10.0.0.1', 'fd01::1', '127.0.0.1']), [1]);
  });

  it('name all ways of a route, and each device once', () => {
    const both = [index('eth0'), index('eth1')].sort((a, b) => a - b);
    assert.deepEqual(routes.devices(['10.9.1.1']), both);
    assert.deepEqual(routes.devices(['fd09::1']), both);
    assert.deepEqual(routes.devices(['10.0.0.2', '10.0.0.3', '10.1.0.2', 'fd00::5']), both);
  });

  it('name none where nothing leads', () => {
    assert.deepEqual(routes.devices(['10.8.0.1', '192.0.2.1', '2001:db8::1']), []);
    assert.deepEqual(routes.devices([]), []);
  });

  it('follow rules by source', async () => {
    await lab.ip('-n', here, 'rule', 'add', 'from', '10.1.0.1', 'table', '77');
    await lab.ip('-n', here, 'route', 'add', 'default', 'via', '10.1.0.2', 'table', '77');
    assert.deepEqual(routes.devices(['192.0.2.1'], ['fd00::1', '10.1.0.1']), [index('eth1')]);
    assert.deepEqual(routes.devices(['192.0.2.1'], ['10.0.0.1']), []);
  });

  it('say once that something has changed', async () => {
    while (routes.changed());
    assert.equal(routes.changed(), false);
    await lab.ip('-n', here, 'route', 'add', '10.7.0.0/24', 'via', '10.0.0.2');
    assert.equal(routes.changed(), true);
    assert.equal(routes.changed(), false);
  });

  it('know names and indices, and what does not exist', () => {
    const eth0 = routes.indexOf('eth0');
    assert.equal(eth0, index('eth0'));
    assert.equal(routes.nameOf(eth0 ?? 0), 'eth0');
    assert.equal(routes.indexOf('nonsense-that-is-too-long'), undefined);
    assert.equal(routes.nameOf(9999), undefined);
  });
});
