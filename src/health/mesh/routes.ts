import type { ResponderRoute } from '../../../probes/responder/index.ts';
import type { RowRequest } from './exchange.ts';
import { ROW_PATHS } from './http-transport.ts';
import type { Mesh } from './mesh.ts';

/** What a node sends at most: versions of 65,535 rows. */
const BODY_BYTES_MAX = 1024 * 1024;

/** The part of a mesh that answers others, and what it counts. */
export type RowService = Pick<Mesh, 'isNode' | 'answer' | 'counters'>;

/** What the responder answers of rows, to nodes only. */
export function rowRoutes(service: Omit<RowService, 'counters'>): ResponderRoute[] {
  return (['differences', 'news'] as const).map((request: RowRequest) => ({
    path: ROW_PATHS[request],
    bodyBytesMax: BODY_BYTES_MAX,
    admits: (remoteAddress) => service.isNode(remoteAddress),
    answer: (remoteAddress, body) => {
      const answer = service.answer(request, remoteAddress, body);
      if (answer.kind === 'answer') return { status: 200, body: answer.body };
      return { status: 400, body: Buffer.from(JSON.stringify(answer.reason)) };
    },
  }));
}
