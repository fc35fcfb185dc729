import type { HttpBindings } from '@hono/node-server';
import type { Hono } from 'hono';
import Type from 'typebox';
import { ApiError } from '../../api/errors.ts';
import { stringifyJson } from '../../base/json.ts';
import { BodyCheck } from './explain.ts';
import { readJsonBody } from './request-body.ts';

const MAX_QUERY_BYTES = 64 * 1024;

const query = new BodyCheck(
  'query',
  Type.Object({
    table: Type.String(),
    index: Type.Optional(Type.String()),
    /** Base64. */
    key: Type.Optional(Type.String()),
    lowerbound: Type.Optional(Type.Boolean()),
  }),
);

/**
 * `GET /statedb/query`, outside the base path: `cilium-dbg status` reads the table `health` here, one JSON object a line.
 * This agent reports no modules apart from its controllers, so that table is empty; others do not exist.
 */
export function addStateDbRoute(app: Hono<{ Bindings: HttpBindings }>): void {
  app.get('/statedb/query', async (c) => {
    try {
      const body = await readJsonBody(c.env.incoming, MAX_QUERY_BYTES);
      const { table } = query.read(body?.value);
      if (table !== 'health') throw new ApiError(404, `no table ${stringifyJson(table.slice(0, 80))}`);
      return new Response('', { headers: { 'content-type': 'application/json' } });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const headers = { 'content-type': 'application/json' };
      return new Response(stringifyJson(error.message), { status: error.status, headers });
    }
  });
}
