import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type DissectedPacket, parsePacket } from '../../src/model/packet.ts';
import { arpPacket, echo, packet, rawL4, tcp, udp, ZERO_MAC } from '../support/packets.ts';

const V4 = { source: '10.1.2.3', destination: '10.1.2.5' };
const V6 = { source: 'fd00::1', destination: 'fd00::2' };

const kinds = ({ headers }: DissectedPacket): string => headers.map(({ kind }) => kind).join(' ');

describe('parsePacket', () => {
  it('reads TCP over IPv4 with addresses, ports, flags and TTL', () => {
    const { headers, restBytes } = parsePacket(
      packet({ ...V4, ttl: 17, payload: tcp(4, 80, 0x12, new Uint8Array(5)) }),
    );
    const [ethernet, ip, transport] = headers;
    assert.equal(ethernet?.kind === 'ethernet' && ethernet.ethertype, 0x0800);
    assert.deepEqual(
      ip?.kind === 'ipv4' && [ip.source, ip.destination, ip.protocol, ip.hops, ip.lengthBytes],
      [V4.source, V4.destination, 6, 17, 45],
    );
    assert.deepEqual(
      transport?.kind === 'tcp' && [transport.sourcePort, transport.destinationPort, transport.flags],
      [4, 80, ['SYN', 'ACK']],
    );
    assert.equal(restBytes, 5);
  });

  it('reads UDP behind extension headers of IPv6', () => {
    const extensions = [{ protocol: 0, bytes: new Uint8Array(8) }];
    const found = parsePacket(packet({ ...V6, extensions, payload: udp(4, 53) }));
    assert.equal(kinds(found), 'ethernet ipv6 udp');
    assert.equal(found.restBytes, 0);
  });

  it('reads id and sequence of an echo, in both families', () => {
    for (const [family, kind, options] of [
      [4, 'icmp', V4],
      [6, 'icmpv6', V6],
    ] as const) {
      const last = parsePacket(packet({ ...options, payload: echo(family, 'request', 77) })).headers.at(-1);
      assert.equal(last?.kind, kind);
      assert.equal(last?.kind === kind && last.echo?.id, 77);
    }
  });

  it('looks for no transport header in a later fragment', () => {
    const fragment = { id: 9, offset: 8, more: true };
    const found = parsePacket(packet({ ...V4, fragment, payload: rawL4(17, new Uint8Array(8)) }));
    assert.equal(kinds(found), 'ethernet ipv4');
    const ip = found.headers[1];
    assert.deepEqual(ip?.kind === 'ipv4' && ip.fragment, { id: 9, offsetBytes: 8, more: true });
    assert.equal(found.restBytes, 8);
  });

  it('reads ARP, and leaves what it does not know as rest', () => {
    const request = {
      operation: 1 as const,
      senderMac: ZERO_MAC,
      senderIp: V4.source,
      targetIp: V4.destination,
    };
    assert.equal(kinds(parsePacket(arpPacket(request))), 'ethernet arp');
    const lldp = parsePacket(packet({ ...V4, ethertype: 0x88cc, payload: udp(1, 2) }));
    assert.equal(kinds(lldp), 'ethernet');
    assert.equal(lldp.restBytes, 28);
  });

  it('never throws, whatever part of a packet it gets, and never invents a header', () => {
    for (const options of [V4, V6]) {
      const whole = packet({ ...options, payload: tcp(4, 80, 0x02) });
      for (let length = 0; length <= whole.length; length++) {
        const { headers, restBytes } = parsePacket(whole.subarray(0, length));
        assert.ok(restBytes <= length);
        assert.equal(
          headers.some(({ kind }) => kind === 'tcp'),
          length === whole.length,
        );
      }
      for (let at = 0; at < whole.length; at++) {
        const broken = Buffer.from(whole);
        broken[at] = 0xff;
        assert.ok(parsePacket(broken).headers.length > 0);
      }
    }
  });
});
