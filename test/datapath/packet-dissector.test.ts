import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { dissectPacket } from '../../src/datapath/packet-dissector.ts';
import {
  arpPacket,
  echo,
  icmpError,
  ipPacket,
  packet,
  rawL4,
  tcp,
  udp,
  ZERO_MAC,
} from '../support/packets.ts';

const V4 = { source: '10.1.2.3', destination: '10.1.2.5' };
const V6 = { source: 'fd00::1', destination: 'fd00::2' };
const quoted = ipPacket({ ...V4, payload: udp(1, 2) });

describe('dissectPacket', () => {
  for (const [expected, bytes] of [
    ['10.1.2.3:4 -> 10.1.2.5:80 tcp SYN', packet({ ...V4, payload: tcp(4, 80, 0x02) })],
    ['10.1.2.3:4 -> 10.1.2.5:80 tcp SYN, ACK', packet({ ...V4, payload: tcp(4, 80, 0x12) })],
    ['10.1.2.3:4 -> 10.1.2.5:53 udp', packet({ ...V4, payload: udp(4, 53) })],
    ['10.1.2.3 -> 10.1.2.5 icmp EchoRequest', packet({ ...V4, payload: echo(4, 'request', 1) })],
    [
      '10.1.2.3 -> 10.1.2.5 icmp DestinationUnreachable',
      packet({ ...V4, payload: icmpError(4, 3, 3, quoted) }),
    ],
    ['10.1.2.3 -> 10.1.2.5 protocol 47', packet({ ...V4, payload: rawL4(47, new Uint8Array(8)) })],
    [
      '10.1.2.3 -> 10.1.2.5 udp fragment',
      packet({ ...V4, payload: rawL4(17, new Uint8Array(8)), fragment: { id: 1, offset: 8, more: false } }),
    ],
    ['[fd00::1]:4 -> [fd00::2]:80 tcp ACK', packet({ ...V6, payload: tcp(4, 80, 0x10) })],
    ['fd00::1 -> fd00::2 icmpv6 EchoReply', packet({ ...V6, payload: echo(6, 'reply', 1) })],
    [
      '[fd00::1]:4 -> [fd00::2]:53 udp',
      packet({ ...V6, payload: udp(4, 53), extensions: [{ protocol: 0, bytes: new Uint8Array(8) }] }),
    ],
    [
      '10.1.2.3 -> 10.1.2.5 arp request',
      arpPacket({ operation: 1, senderMac: ZERO_MAC, senderIp: V4.source, targetIp: V4.destination }),
    ],
    ['ethertype 0x88cc', packet({ ...V4, payload: udp(1, 2), ethertype: 0x88cc })],
  ] as const) {
    it(`reads ${expected}`, () => assert.equal(dissectPacket(bytes), expected));
  }

  it('says what it can of any part of any packet', () => {
    for (const options of [V4, V6]) {
      const whole = packet({ ...options, payload: tcp(4, 80, 0x02) });
      for (let length = 0; length <= whole.length; length++) {
        assert.ok(dissectPacket(whole.subarray(0, length)).length > 0);
      }
    }
  });
});
