import { API_BASE_PATH, contract } from './contract.ts';
import type { Answer, Operation, Param, ParamKind } from './contract-types.ts';
import { ENDPOINT_PREFIXES } from './endpoint-ref.ts';

type Json = { readonly [key: string]: unknown };

const PARAM_SCHEMAS: Readonly<Record<ParamKind, Json>> = {
  endpoint: { type: 'string', pattern: `^((${ENDPOINT_PREFIXES.join('|')}):)?.+$` },
  identity: { type: 'integer', minimum: 0, maximum: 0xffff_ffff },
  ip: { type: 'string' },
  cidr: { type: 'string' },
  integer: { type: 'integer', minimum: 0 },
  boolean: { type: 'boolean' },
  family: { type: 'string', enum: ['ipv4', 'ipv6'] },
  text: { type: 'string' },
};

const SUMMARY = 'The agent of one node, on its unix socket. Every failure answers a bare JSON string.';

/** The OpenAPI 3.1 document of the agent's API, made from the contract; named schemas become components. */
export function openApiDocument(version: string): Json {
  const components = new Map<string, unknown>();
  const paths: Record<string, Record<string, unknown>> = {};
  for (const [name, operation] of Object.entries(contract as Readonly<Record<string, Operation>>)) {
    const path = paths[operation.path] ?? {};
    path[operation.method] = describe(name, operation, components);
    paths[operation.path] = path;
  }
  const schemas = Object.fromEntries([...components].toSorted(([a], [b]) => (a < b ? -1 : 1)));
  return {
    openapi: '3.1.0',
    info: {
      title: 'Ciliate agent',
      version,
      summary: SUMMARY,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: API_BASE_PATH }],
    paths,
    components: { schemas },
  };
}

function describe(name: string, operation: Operation, components: Map<string, unknown>): Json {
  const { body } = operation;
  const parameters = Object.entries(operation.params).map(([param, spec]) => parameter(param, spec));
  return {
    operationId: name,
    tags: [operation.tag],
    summary: operation.summary,
    ...(parameters.length > 0 && { parameters }),
    ...(body && {
      requestBody: {
        required: body.required,
        content: { 'application/json': { schema: visit(body.schema, components) } },
      },
    }),
    responses: Object.fromEntries(
      Object.entries(operation.answers).map(([status, answer]) => [status, response(answer, components)]),
    ),
  };
}

function parameter(name: string, param: Param): Json {
  return {
    name,
    in: param.in,
    ...(param.in === 'path' && { required: true }),
    ...(param.description !== undefined && { description: param.description }),
    schema: PARAM_SCHEMAS[param.kind],
  };
}

function response(answer: Answer, components: Map<string, unknown>): Json {
  const { description, schema, mediaType = 'application/json' } = answer;
  return { description, ...(schema && { content: { [mediaType]: { schema: visit(schema, components) } } }) };
}

/** A schema with each named one inside it, and itself, replaced by a reference to its component. */
function visit(value: unknown, components: Map<string, unknown>): unknown {
  if (Array.isArray(value)) return value.map((item) => visit(item, components));
  if (typeof value !== 'object' || value === null) return value;
  const { title, ...rest } = value as Json;
  if (typeof title !== 'string') return visitMembers(value as Json, components);
  if (!components.has(title)) {
    components.set(title, undefined);
    components.set(title, visitMembers(rest, components));
  }
  return { $ref: `#/components/schemas/${title}` };
}

function visitMembers(members: Json, components: Map<string, unknown>): Json {
  return Object.fromEntries(
    Object.entries(members)
      .filter(([key]) => !key.startsWith('~'))
      .map(([key, member]) => [
        key,
        key === 'properties' ? properties(member, components) : visit(member, components),
      ]),
  );
}

/** The keys here are names of members, `title` among them: not to be taken as a schema's own. */
function properties(value: unknown, components: Map<string, unknown>): Json {
  return Object.fromEntries(
    Object.entries(value as Json).map(([name, schema]) => [name, visit(schema, components)]),
  );
}
