import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { resolveConfig, unknownVariables } from '../../src/base/config.ts';
import { closestName } from '../../src/base/did-you-mean.ts';
import { UsageError } from '../../src/base/errors.ts';
import {
  parseBoolean,
  parseHostName,
  parseInteger,
  parseList,
  parseListenAddress,
  parseOneOf,
} from '../../src/base/option-parsers.ts';

const folder = mkdtempSync(join(tmpdir(), 'ciliate-config-'));
after(() => rmSync(folder, { recursive: true, force: true }));
let folders = 0;

function configFolder(files: Record<string, string>): string {
  const path = join(folder, String(folders++));
  mkdirSync(path);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  return path;
}

const table = {
  port: { description: 'a port', parse: parseInteger(1, 65535), fallback: 80 },
  mode: { description: 'a mode', parse: parseOneOf('slow', 'fast'), fallback: 'slow' as 'slow' | 'fast' },
  'with-health': { description: 'on or off', parse: parseBoolean, fallback: true },
  devices: { description: 'names', parse: parseList((text) => text), fallback: [] as readonly string[] },
};
const sources = { flags: {}, environment: {}, environmentPrefix: 'CILIATE', folder: undefined };

describe('unknownVariables', () => {
  it('tells of those that set nothing, with what was probably meant', () => {
    const environment = {
      CILIATE_PORT: '1',
      CILIATE_MODES: 'fast',
      CILIATE_SOCK: '/s',
      CILIATE_SOMETHING_ELSE: '',
      OTHER_PORT: '1',
      CILIATE_AGENT_SERVICE_HOST: '10.0.0.1',
      CILIATE_AGENT_PORT_80_TCP_ADDR: '10.0.0.1',
    };
    assert.deepEqual(unknownVariables(table, { ...sources, environment }, ['CILIATE_SOCK']), [
      'the variable CILIATE_MODES sets nothing, did you mean CILIATE_MODE?',
      'the variable CILIATE_SOMETHING_ELSE sets nothing',
    ]);
  });
});

describe('resolveConfig', () => {
  it('takes the flag before the environment before the folder before the default, and says so', () => {
    const path = configFolder({ port: '1\n', mode: 'fast\n', 'with-health': 'false' });
    const { values, origins } = resolveConfig(table, {
      ...sources,
      flags: { port: '3' },
      environment: { CILIATE_PORT: '2', CILIATE_MODE: 'slow' },
      folder: path,
    });
    assert.deepEqual(values, { port: 3, mode: 'slow', 'with-health': false, devices: [] });
    assert.deepEqual(
      Object.values(origins).map((origin) => origin.text),
      ['flag --port', 'env CILIATE_MODE', `file ${path}/with-health`, 'default'],
    );
  });

  it('reads a mounted ConfigMap, whose files are links into a hidden folder', () => {
    const path = configFolder({});
    mkdirSync(join(path, '..data'));
    writeFileSync(join(path, '..data', 'devices'), 'eth0, eth1');
    symlinkSync('..data/devices', join(path, 'devices'));
    assert.deepEqual(resolveConfig(table, { ...sources, folder: path }).values.devices, ['eth0', 'eth1']);
  });

  it('names every wrong value and every unknown file at once, with the place and what was probably meant', () => {
    const path = configFolder({ prot: '1', mode: 'quick' });
    const attempt = (): unknown =>
      resolveConfig(table, {
        ...sources,
        flags: { port: '70000' },
        environment: { CILIATE_WITH_HEALTH: 'maybe' },
        folder: path,
      });
    assert.throws(attempt, (error: unknown) => {
      assert.ok(error instanceof UsageError);
      assert.equal(error.code, 'CONFIG_INVALID');
      assert.match(error.message, /prot: no such option, did you mean port\?/);
      assert.match(error.message, /port \(flag --port\): "70000" is not a whole number from 1 to 65535/);
      assert.match(error.message, /mode \(file .*\/mode\): "quick" is none of slow, fast/);
      assert.match(
        error.message,
        /with-health \(env CILIATE_WITH_HEALTH\): "maybe" is neither true nor false/,
      );
      return true;
    });
  });

  it('refuses a folder that cannot be read', () => {
    assert.throws(() => resolveConfig(table, { ...sources, folder: join(folder, 'none') }), {
      code: 'CONFIG_UNREADABLE',
    });
  });
});

describe('parseHostName', () => {
  it('takes a name, and no port, path, blank or end that no name has', () => {
    for (const name of ['n1', 'Metrics.example', 'my_node-1']) assert.equal(parseHostName(name), name);
    for (const name of ['', 'n1:9962', 'http://n1', 'n 1', 'n1.', '-n1', '*.example', 'n'.repeat(300)])
      assert.throws(() => parseHostName(name), { code: 'OPTION_INVALID' }, name);
  });
});

describe('closestName', () => {
  it('finds a typing error and stays silent about a different word', () => {
    assert.equal(closestName('ipv4-rnage', ['ipv4-range', 'ipv6-range']), 'ipv4-range');
    assert.equal(closestName('bogus', ['ipv4-range', 'mode']), undefined);
    assert.equal(closestName('a', ['mode']), undefined);
  });

  it('takes no time that whoever asks could make long', () => {
    const names = Array.from({ length: 2000 }, (_, i) => `${i}`.padEnd(253, 'n'));
    const before = process.cpuUsage();
    assert.equal(closestName('n'.repeat(2000), names), undefined);
    const { user, system } = process.cpuUsage(before);
    assert.ok(user + system < 1e6, `${user + system} us of CPU`);
  });
});

describe('parseListenAddress', () => {
  for (const [text, host, port] of [
    [':9962', undefined, 9962],
    ['127.0.0.1:0', '127.0.0.1', 0],
    ['[::1]:80', '::1', 80],
  ] as const) {
    it(`reads ${text}`, () => assert.deepEqual(parseListenAddress(text), { host, port }));
  }
  for (const text of ['9962', ':70000', '[x]:80', '::1:80']) {
    it(`refuses ${text}`, () => assert.throws(() => parseListenAddress(text), { code: 'OPTION_INVALID' }));
  }
});
