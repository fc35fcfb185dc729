import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { IpNetworkSetup, PROXY_ROUTING } from '../../src/agent/ip-network-setup.ts';
import { parseCidr } from '../../src/base/ip.ts';
import { run } from '../../src/base/run.ts';
import { NetnsLab } from '../support/netns.ts';
import { rootOrSkip } from '../support/privilege.ts';

describe('the routing of marked packets to the proxy', { skip: rootOrSkip() }, () => {
  const lab = new NetnsLab('i');
  let netns = '';
  const sysctls = new Map<string, string>();

  before(async () => {
    netns = await lab.namespace('n');
  });
  after(() => lab.cleanUp());

  function setup(): IpNetworkSetup {
    return new IpNetworkSetup(
      { devices: ['eth0'], ipv4Range: parseCidr('10.7.0.0/24'), ipv6Range: parseCidr('fd07::/96') },
      {
        ip: (args, input) => run(['ip', '-n', netns, ...args], { input }),
        setSysctl: (name, value) => sysctls.set(name, value),
      },
    );
  }

  const shown = (family: string, ...words: readonly string[]): Promise<string> =>
    lab.ip('-n', netns, family, ...words);

  it('is made once for each family, however often an agent starts, and goes with cleanup', async () => {
    await setup().prepareNode();
    await setup().prepareNode();
    const table = String(PROXY_ROUTING.table);
    for (const family of ['-4', '-6']) {
      const rules = await shown(family, 'rule', 'show');
      assert.equal(rules.match(new RegExp(`fwmark 0x200/0xf00 lookup ${table}`, 'g'))?.length, 1, rules);
      assert.match(await shown(family, 'route', 'show', 'table', table), /^local default dev lo/);
      const marked = family === '-4' ? '8.8.8.8' : '2001:db8::1';
      assert.match(await shown(family, 'route', 'get', marked, 'mark', '0x200'), /^local /);
    }
    assert.equal(sysctls.get('net/ipv4/tcp_tw_reuse'), '1');
    await setup().removeAll();
    await setup().removeAll();
    for (const family of ['-4', '-6']) {
      assert.doesNotMatch(await shown(family, 'rule', 'show'), /fwmark/);
      assert.equal((await shown(family, 'route', 'show', 'proto', '201')).trim(), '');
      assert.doesNotMatch(await shown(family, 'route', 'show', 'table', 'all'), new RegExp(`table ${table}`));
    }
  });
});
