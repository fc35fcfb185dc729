import { request } from 'node:http';
import { isIPv6, type Socket } from 'node:net';
import type { ResponderRoute } from '../../../probes/responder/index.ts';
import type { LossFinder } from './loss-finder.ts';
import {
  decodeQuestion,
  decodeSightings,
  encodeQuestion,
  encodeSightings,
  type PathId,
  type Sightings,
} from './sightings.ts';

/** Where a node says what it saw of another node's probes. */
const WAYPOINTS_PATH = '/v1beta/waypoints';
const TIMEOUT_MS = 500;
const QUESTION_BYTES_MAX = 100;
const ANSWER_BYTES_MAX = 4096;
const NO_BODY = new Uint8Array();

export interface PeerQuestionOptions {
  /** Host order, of the other nodes' responders. */
  readonly port: number;
  readonly sources?: readonly string[] | undefined;
  /** Connects otherwise than from this process's network namespace: many nodes in one process. */
  readonly connect?: ((address: string, port: number) => Socket) | undefined;
}

/** Asks a node what it saw of a path. Undefined: it does not answer in time, or does not know the question. */
export function askPeer(
  { port, sources = [], connect }: PeerQuestionOptions,
  address: string,
  path: PathId,
): Promise<Sightings | undefined> {
  const localAddress = sources.find((source) => isIPv6(source) === isIPv6(address));
  const body = encodeQuestion(path);
  return new Promise((resolve) => {
    const outgoing = request({
      ...{ host: address, port, path: WAYPOINTS_PATH, method: 'POST' },
      headers: { 'content-length': body.length, connection: 'close' },
      ...(localAddress !== undefined && { localAddress }),
      ...(connect === undefined ? { agent: false } : { createConnection: () => connect(address, port) }),
    });
    const timer = setTimeout(() => outgoing.destroy(), TIMEOUT_MS);
    // A peer that cannot be asked is an answer, too.
    outgoing.on('error', () => resolve(undefined));
    outgoing.on('close', () => {
      clearTimeout(timer);
      resolve(undefined);
    });
    outgoing.on('response', (answer) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > ANSWER_BYTES_MAX) outgoing.destroy();
        else chunks.push(chunk);
      });
      answer.on('end', () =>
        resolve(answer.statusCode === 200 ? decodeSightings(Buffer.concat(chunks)) : undefined),
      );
    });
    outgoing.end(body);
  });
}

/** Answers other nodes. @param admits whether a node of ours has that address */
export function waypointRoute(
  finder: Pick<LossFinder, 'sightings'>,
  admits: (address: string) => boolean,
): ResponderRoute {
  return {
    path: WAYPOINTS_PATH,
    bodyBytesMax: QUESTION_BYTES_MAX,
    admits,
    answer: (_address, body) => {
      const path = decodeQuestion(body);
      if (path === undefined) return { status: 400, body: NO_BODY };
      return { status: 200, body: encodeSightings(finder.sightings(path)) };
    },
  };
}
