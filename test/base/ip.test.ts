import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import {
  cidrContains,
  formatCidr,
  formatIp,
  ipFamily,
  maskIp,
  parseCidr,
  parseIp,
} from '../../src/base/ip.ts';

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const address = fc.oneof(bytes(4), bytes(16));
/** IPv6 with runs of zeros, which random bytes seldom have. */
const sparse = fc
  .array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), { minLength: 8, maxLength: 8 })
  .map((groups) => Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff])));
const run = { seed: 20261123, numRuns: 2000 };

describe('addresses', () => {
  it('read what they wrote', () => {
    fc.assert(
      fc.property(fc.oneof(address, sparse), (value) => {
        assert.deepEqual([...parseIp(formatIp(value))], [...value]);
      }),
      run,
    );
  });

  it('are written as another implementation writes them', () => {
    fc.assert(
      fc.property(fc.oneof(bytes(4), sparse), (value) => {
        const other = ipaddr.fromByteArray([...value]);
        const text = other instanceof ipaddr.IPv6 ? other.toRFC5952String() : other.toString();
        assert.equal(formatIp(value), text);
      }),
      run,
    );
  });

  it('are read as another implementation reads them, in any spelling of IPv6', () => {
    const spelling = fc.tuple(sparse, fc.integer({ min: 0, max: 2 }));
    fc.assert(
      fc.property(spelling, ([value, form]) => {
        const other = new ipaddr.IPv6([...value]);
        const text =
          [
            other.toNormalizedString(),
            other.parts.map((part) => part.toString(16).padStart(4, '0')).join(':'),
            other.toRFC5952String().toUpperCase(),
          ][form] ?? '';
        assert.deepEqual([...parseIp(text)], [...value]);
      }),
      run,
    );
  });

  it('read the form with a dotted quad at the end', () => {
    assert.deepEqual([...parseIp('::ffff:192.0.2.1')].slice(10), [0xff, 0xff, 192, 0, 2, 1]);
  });

  for (const text of [
    '',
    '010.0.0.1',
    '1.2.3',
    '1.2.3.256',
    '1.2.3.4/8',
    'fe80::1%eth0',
    ':::',
    '1::2::3',
    'x',
  ]) {
    it(`refuse ${JSON.stringify(text)}`, () => {
      assert.throws(() => parseIp(text), { code: 'IP_INVALID' });
    });
  }

  it('refuse every text that is none', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        if (isIP(text) === 0) assert.throws(() => parseIp(text), { code: 'IP_INVALID' });
      }),
      run,
    );
  });
});

describe('prefixes', () => {
  const prefix = fc.oneof(
    fc.tuple(bytes(4), fc.integer({ min: 0, max: 32 })),
    fc.tuple(fc.oneof(bytes(16), sparse), fc.integer({ min: 0, max: 128 })),
  );

  it('drop host bits, and contain what another implementation says they contain', () => {
    fc.assert(
      fc.property(prefix, bytes(16), ([value, length], noise) => {
        const cidr = parseCidr(`${formatIp(value)}/${length}`);
        assert.deepEqual([...cidr.bytes], [...maskIp(value, length)]);
        // Near the prefix, so that both answers come up.
        const near = value.map((byte, i) => (i * 8 >= length - 3 ? byte ^ (noise[i] ?? 0) : byte));
        const expected = ipaddr
          .fromByteArray([...near])
          .match([ipaddr.fromByteArray([...value]), length] as never);
        assert.equal(cidrContains(cidr, near), expected);
      }),
      run,
    );
  });

  it('read what they wrote', () => {
    fc.assert(
      fc.property(prefix, ([value, length]) => {
        const cidr = parseCidr(`${formatIp(value)}/${length}`);
        assert.deepEqual(parseCidr(formatCidr(cidr)), cidr);
        assert.equal(ipFamily(cidr.bytes), cidr.family);
      }),
      run,
    );
  });

  it('take a bare address as a host', () => {
    assert.deepEqual([parseCidr('10.0.0.1').length, parseCidr('fd00::1').length], [32, 128]);
  });

  for (const text of [
    '10.0.0.0/33',
    'fd00::/129',
    '10.0.0.0/',
    '10.0.0.0/-1',
    '10.0.0.0/8x',
    '/8',
    '10.0.0.0/008 ',
  ]) {
    it(`refuse ${JSON.stringify(text)}`, () => {
      assert.throws(() => parseCidr(text), { code: 'CIDR_INVALID' });
    });
  }
});
