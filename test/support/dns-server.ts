/**
 * A name server on UDP and TCP port 53 of every address, for tests: `node dns-server.ts ZONE-JSON`, where the zone maps
 * names to `{ a, aaaa, cname, ttl, forge, big }`. Writes one line of JSON for each query. Names without entry: NXDOMAIN.
 */
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { pathToFileURL } from 'node:url';
import * as dnsPacket from 'dns-packet';

export interface ZoneEntry {
  readonly a?: readonly string[];
  readonly aaaa?: readonly string[];
  readonly cname?: string;
  readonly ttl?: number;
  /** Send forged answers first: another id, another question, another case of letters. */
  readonly forge?: boolean;
  /** Too large for UDP: truncated there. */
  readonly big?: boolean;
}
export type Zone = Readonly<Record<string, ZoneEntry>>;

const MAX_CHAIN = 10;

function recordsFor(zone: Zone, name: string, type: string): dnsPacket.Answer[] {
  const records: dnsPacket.Answer[] = [];
  for (let owner = name, i = 0; i < MAX_CHAIN; i++) {
    const entry = zone[owner.toLowerCase()];
    const ttl = entry?.ttl ?? 60;
    if (entry?.cname === undefined) {
      const addresses = type === 'AAAA' ? entry?.aaaa : type === 'A' ? entry?.a : undefined;
      for (const data of addresses ?? []) records.push({ type: type as 'A', name: owner, data, ttl });
      break;
    }
    records.push({ type: 'CNAME', name: owner, data: entry.cname, ttl });
    owner = entry.cname;
  }
  return records;
}

type Packet = dnsPacket.Packet & { id: number; questions: dnsPacket.Question[] };

function answerFor(
  zone: Zone,
  query: Buffer,
): { readonly packet: Packet; readonly entry: ZoneEntry | undefined } {
  const { id = 0, questions = [] } = dnsPacket.decode(query);
  const [question] = questions;
  const name = question?.name ?? '';
  const entry = zone[name.toLowerCase()];
  const flags = dnsPacket.AUTHORITATIVE_ANSWER | dnsPacket.RECURSION_DESIRED | dnsPacket.RECURSION_AVAILABLE;
  const answers = recordsFor(zone, name, question?.type ?? 'A');
  const rcode = entry === undefined ? 3 : 0;
  return { packet: { type: 'response', id, flags: flags | rcode, questions, answers }, entry };
}

function forgeries(packet: Packet): Packet[] {
  const [question] = packet.questions;
  const name = question?.name ?? '';
  const answers: dnsPacket.Answer[] = [{ type: 'A', name, data: '192.0.2.66', ttl: 600 }];
  const asking = (other: string): dnsPacket.Question[] => [{ type: 'A', name: other, class: 'IN' }];
  const otherCase = name === name.toUpperCase() ? name.toLowerCase() : name.toUpperCase();
  return [
    { ...packet, answers, id: packet.id ^ 1 },
    { ...packet, answers, questions: asking('bank.com') },
    { ...packet, answers, questions: asking(otherCase) },
  ];
}

function serveUdp(zone: Zone, socket: UdpSocket, query: Buffer, from: RemoteInfo): void {
  const { packet, entry } = answerFor(zone, query);
  const send = (one: dnsPacket.Packet): void => socket.send(dnsPacket.encode(one), from.port, from.address);
  if (entry?.forge === true) for (const forged of forgeries(packet)) send(forged);
  if (entry?.big === true)
    send({ ...packet, answers: [], flags: (packet.flags ?? 0) | dnsPacket.TRUNCATED_RESPONSE });
  else send(packet);
}

function say(query: Buffer, transport: string, address: string, port: number): void {
  const { questions } = dnsPacket.decode(query);
  const [question] = questions ?? [];
  console.log(
    JSON.stringify({ name: question?.name, type: question?.type, transport, from: `${address} ${port}` }),
  );
}

function serve(zone: Zone, port: number): void {
  for (const type of ['udp4', 'udp6'] as const) {
    const socket = createSocket({ type, ipv6Only: type === 'udp6' });
    socket.on('message', (query, from) => {
      say(query, 'udp', from.address, from.port);
      serveUdp(zone, socket, query, from);
    });
    socket.bind(port);
  }
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    let bytes = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      while (bytes.length >= 2 && bytes.length >= 2 + bytes.readUInt16BE(0)) {
        const query = bytes.subarray(2, 2 + bytes.readUInt16BE(0));
        bytes = bytes.subarray(2 + query.length);
        say(query, 'tcp', (socket.remoteAddress ?? '').replace('::ffff:', ''), socket.remotePort ?? 0);
        socket.write(dnsPacket.streamEncode(answerFor(zone, query).packet));
      }
    });
  });
  server.listen(port, () => console.log('ready'));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  serve(JSON.parse(process.argv[2] ?? '{}') as Zone, Number(process.argv[3] ?? 53));
