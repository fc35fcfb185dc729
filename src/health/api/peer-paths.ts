import { request as httpRequest, type IncomingMessage } from 'node:http';
import { isIPv6 } from 'node:net';
import type { ResponderRoute } from '../../../probes/responder/index.ts';
import type { HealthPathReport } from '../../api/schema.ts';
import { SystemError } from '../../base/errors.ts';
import { parseJson } from '../../base/json.ts';
import type { Health } from '../health.ts';
import { pathAnswer } from './answers.ts';

/** A node's health agent tells others of the cluster about its paths, on the port of the responder. */

const PATH = '/v1beta/paths';
/** A node's name. */
const NAME_BYTES_MAX = 1024;
const ANSWER_BYTES_MAX = 1024 * 1024;
const TIMEOUT_MS = 2000;
const PATHS_MAX = 1000;

/** Answers nodes of the cluster with our paths to the node whose name is the body. */
export function pathRoute(health: Pick<Health, 'nodes' | 'reports' | 'rows'>): ResponderRoute {
  return {
    path: PATH,
    bodyBytesMax: NAME_BYTES_MAX,
    admits: (remoteAddress) => health.rows.isNode(remoteAddress),
    answer: (_remoteAddress, body) => {
      const peer = Buffer.from(body).toString('utf8');
      const known = health.nodes().nodes.some(({ name }) => name === peer);
      const answer = known ? health.reports(peer).slice(0, PATHS_MAX).map(pathAnswer) : 'no such node here';
      return { status: known ? 200 : 404, body: Buffer.from(JSON.stringify(answer)) };
    },
  };
}

export interface PeerPathsOptions {
  /** Host order, of the other nodes' responders. */
  readonly port: number;
  /** Addresses to connect from, at most one a family: the others know us by them. */
  readonly sources?: readonly string[] | undefined;
  readonly timeoutMs?: number | undefined;
}

function failure(text: string, cause?: unknown): SystemError {
  return new SystemError(text, { code: 'PEER_PATHS', cause });
}

/** What each status of a responder that does not tell means. */
const REFUSALS: Readonly<Record<number, string>> = {
  403: 'it does not know this node',
  404: 'its health agent is older, or does not know that node',
  405: 'its health agent is older',
  413: 'its health agent is older',
  503: 'it is asked too much at once',
};

/** Asks a node's health agent for its paths to a peer. @throws SystemError code PEER_PATHS */
export function createPeerPaths({ port, sources = [], timeoutMs = TIMEOUT_MS }: PeerPathsOptions) {
  return async (address: string, peer: string): Promise<readonly HealthPathReport[]> => {
    const body = Buffer.from(peer);
    const localAddress = sources.find((source) => isIPv6(source) === isIPv6(address));
    const outgoing = httpRequest({
      agent: false,
      host: address,
      port,
      path: PATH,
      method: 'POST',
      headers: { 'content-length': body.length, 'user-agent': 'ciliate-health' },
      ...(localAddress === undefined ? {} : { localAddress }),
    });
    // An answer that is cut off says only that it was.
    let late: SystemError | undefined;
    const timer = setTimeout(() => {
      late = failure(`no answer in ${timeoutMs} ms`);
      outgoing.destroy(late);
    }, timeoutMs);
    try {
      const answer = await new Promise<IncomingMessage>((resolve, reject) => {
        outgoing.on('response', resolve);
        outgoing.on('error', reject);
        outgoing.end(body);
      });
      return parseAnswer(answer.statusCode ?? 0, await collect(answer));
    } catch (error) {
      throw late ?? described(error, address, port);
    } finally {
      clearTimeout(timer);
      outgoing.destroy();
    }
  };
}

const ERRORS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'no route',
  ETIMEDOUT: 'no answer',
};

function described(error: unknown, address: string, port: number): unknown {
  if (error instanceof SystemError) return error;
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'the connection failed';
  return failure(`${ERRORS[code] ?? code} at ${isIPv6(address) ? `[${address}]` : address}:${port}`, error);
}

async function collect(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) throw failure(`its answer has more than ${ANSWER_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Another node may lie: what is shown is checked for what the layouts lean on. */
function parseAnswer(status: number, text: string): readonly HealthPathReport[] {
  if (status !== 200) throw failure(REFUSALS[status] ?? `it answered with status ${status}`);
  let value: unknown;
  try {
    value = parseJson(text);
  } catch (cause) {
    throw failure('its answer is no JSON', cause);
  }
  if (!Array.isArray(value) || value.length > PATHS_MAX || !value.every(isReport)) {
    throw failure('its answer is no list of paths');
  }
  return value;
}

const MEMBERS: Readonly<Record<string, string>> = {
  peer: 'string',
  kind: 'string',
  'path-class': 'string',
  responder: 'string',
  expects: 'string',
  family: 'number',
  address: 'string',
  state: 'string',
  since: 'string',
  window: 'object',
  'black-hole': 'boolean',
};
const COUNTS = ['sent', 'answered', 'late', 'duplicate', 'reordered'];

function isReport(value: unknown): value is HealthPathReport {
  if (typeof value !== 'object' || value === null) return false;
  const members = value as Readonly<Record<string, unknown>>;
  if (Object.entries(MEMBERS).some(([name, type]) => typeof members[name] !== type)) return false;
  const window = members.window as Readonly<Record<string, unknown>> | null;
  return window !== null && COUNTS.every((name) => typeof window[name] === 'number');
}
