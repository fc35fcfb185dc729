import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { TSchema } from 'typebox';
import { Check } from 'typebox/value';
import { contract, type OperationName } from '../../../src/api/contract.ts';
import type { Operation, ParamKind } from '../../../src/api/contract-types.ts';
import { requestText, startServer, type TestServer } from './support.ts';

const WRONG: readonly unknown[] = ['text', 7, 4.5, true, null, [], {}, ['text'], [7], { a: 1 }, -1, 1e300];

type Step = string | number;

/** Good texts of every kind of parameter, and bad ones. */
const PARAMS: Readonly<Record<ParamKind, { readonly good: string; readonly bad: readonly string[] }>> = {
  endpoint: {
    good: '1',
    bad: ['0', '65536', 'x', '-1', '1.5', 'nobody:1', 'ipv4:', 'cilium-local:x', '%20', '1e3'],
  },
  identity: { good: '256', bad: ['x', '-1', '1.5', '4294967296', '0x10', '%00'] },
  ip: { good: '10.0.0.1', bad: ['x', '10.0.0', '010.0.0.1', '10.0.0.256', 'fe80::1%25eth0', '10.0.0.1%2F8'] },
  cidr: { good: '10.0.0.0/8', bad: ['x', '10.0.0.0/33', '10.0.0.0/', '::/129'] },
  integer: { good: '5', bad: ['x', '-1', '1.5', '99999999999999999999'] },
  boolean: { good: 'true', bad: ['yes', '2', 'truee'] },
  family: { good: 'ipv4', bad: ['4', 'ipv5', 'IPv4'] },
  text: { good: 'x', bad: [] },
};

const operations = Object.entries(contract) as [OperationName, Operation][];

function pathWith(operation: Operation, values: Readonly<Record<string, string>> = {}): string {
  const path = operation.path.replace(/\{([\w-]+)\}/g, (_, name: string) => {
    return values[name] ?? PARAMS[operation.params[name]?.kind ?? 'text'].good;
  });
  return `/v1${path}`;
}

/** A body that the schema takes: only what is required, and a list whose items require something. */
function minimal(operation: Operation): unknown {
  if (operation.body === undefined) return undefined;
  if (operation.body.name === 'service') return { 'backend-addresses': [{ ip: '10.0.0.1' }] };
  for (const candidate of [{}, { state: 'ready' }, []])
    if (Check(operation.body.schema, candidate)) return candidate;
  throw new Error(`no minimal body for ${operation.path}`);
}

/** Every place in a value of this schema that has a type: a member, an item, a value of a map. */
function places(schema: TSchema, at: readonly Step[] = []): readonly (readonly Step[])[] {
  const shape = schema as unknown as {
    readonly properties?: Record<string, TSchema>;
    readonly patternProperties?: Record<string, TSchema>;
    readonly items?: TSchema;
    readonly anyOf?: readonly TSchema[];
  };
  const inside = [
    ...Object.entries(shape.properties ?? {}).map(([name, member]): [Step, TSchema] => [name, member]),
    ...Object.values(shape.patternProperties ?? {}).map((member): [Step, TSchema] => ['some key', member]),
    ...(shape.items ? [[0, shape.items] as [Step, TSchema]] : []),
  ];
  return [
    at,
    ...inside.flatMap(([step, member]) => places(member, [...at, step])),
    ...(shape.anyOf ?? []).flatMap((alternative) => places(alternative, at)),
  ];
}

function withValue(root: unknown, at: readonly Step[], value: unknown): unknown {
  const [step, ...rest] = at;
  if (step === undefined) return value;
  if (typeof step === 'number') return [withValue(Array.isArray(root) ? root[step] : undefined, rest, value)];
  const base = typeof root === 'object' && root !== null ? (root as Record<string, unknown>) : {};
  return { ...base, [step]: withValue(base[step], rest, value) };
}

function fieldText(name: string, at: readonly Step[]): string {
  return at.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`;
    return /^[\w-]+$/.test(step) ? `${text}.${step}` : `${text}[${JSON.stringify(step)}]`;
  }, name);
}

async function expectRefusal(
  server: TestServer,
  request: Buffer,
  prefix: string,
  what: string,
): Promise<void> {
  const answer = await server.raw(request);
  assert.equal(answer.status, 400, `${what}: ${answer.body}`);
  const text: unknown = JSON.parse(answer.body);
  assert.ok(
    typeof text === 'string' && text.startsWith(prefix),
    `${what}: ${answer.body} should start with ${prefix}`,
  );
}

describe('validation by the contract', () => {
  it('refuses every wrong type in every field of every body with 400 that names the field', async () => {
    await using server = await startServer();
    let tried = 0;
    for (const [name, operation] of operations) {
      const { body } = operation;
      if (body === undefined || body.asText) continue;
      for (const at of places(body.schema)) {
        for (const wrong of WRONG) {
          const value = withValue(minimal(operation), at, wrong);
          if (Check(body.schema, value)) continue;
          tried += 1;
          const request = requestText(
            operation.method.toUpperCase(),
            pathWith(operation),
            JSON.stringify(value),
          );
          await expectRefusal(server, request, fieldText(body.name, at), `${name} ${JSON.stringify(value)}`);
        }
      }
    }
    assert.ok(tried > 300, `only ${tried} wrong values were tried`);
    assert.deepEqual(server.agent.calls, [], 'nothing reached the agent');
    assert.deepEqual(server.errors, []);
  });

  it('refuses every bad parameter of every path with 400 that names it', async () => {
    await using server = await startServer();
    let tried = 0;
    for (const [name, operation] of operations) {
      for (const [param, spec] of Object.entries(operation.params)) {
        for (const bad of PARAMS[spec.kind].bad) {
          tried += 1;
          const path = pathWith(operation, spec.in === 'path' ? { [param]: bad } : {});
          const query = spec.in === 'query' ? `?${param}=${encodeURIComponent(bad)}` : '';
          const headers: Record<string, string> = spec.in === 'header' ? { [param]: bad } : {};
          const body = operation.body?.required ? JSON.stringify(minimal(operation)) : undefined;
          const request = requestText(operation.method.toUpperCase(), `${path}${query}`, body, headers);
          const prefix =
            spec.in === 'header'
              ? `header ${param}: `
              : spec.kind === 'endpoint'
                ? 'endpoint id: '
                : `${param}: `;
          await expectRefusal(server, request, prefix, `${name} ${param}=${bad}`);
        }
      }
    }
    assert.ok(tried > 100, `only ${tried} bad parameters were tried`);
    assert.deepEqual(server.agent.calls, []);
  });

  it('passes what is right on to the operation of every path', async () => {
    await using server = await startServer();
    for (const [name, operation] of operations) {
      const body = operation.body === undefined ? undefined : JSON.stringify(minimal(operation));
      const answer = await server.raw(requestText(operation.method.toUpperCase(), pathWith(operation), body));
      assert.ok(answer.status >= 200 && answer.status < 300, `${name}: ${answer.status} ${answer.body}`);
      assert.equal(server.agent.calls.at(-1)?.name, name);
      assert.ok(
        answer.status in operation.answers,
        `${name} answers ${answer.status}, which its contract does not list`,
      );
    }
  });

  it('takes every way to name an endpoint', async () => {
    await using server = await startServer();
    const refs: readonly [string, object][] = [
      ['12', { kind: 'cilium-local', id: 12 }],
      ['cilium-local:12', { kind: 'cilium-local', id: 12 }],
      ['cilium-global:n1:12', { kind: 'cilium-global', value: 'n1:12' }],
      ['container-id:abc', { kind: 'container-id', value: 'abc' }],
      ['container-name:web', { kind: 'container-name', value: 'web' }],
      ['docker-endpoint:abc', { kind: 'docker-endpoint', value: 'abc' }],
      ['pod-name:default:xwing', { kind: 'pod-name', value: 'default/xwing' }],
      ['pod-name:default%2Fxwing', { kind: 'pod-name', value: 'default/xwing' }],
      ['cep-name:default%2Fxwing', { kind: 'cep-name', value: 'default/xwing' }],
      ['ipv4:10.0.0.1', { kind: 'ipv4', value: '10.0.0.1' }],
      ['ipv6:f00d::1', { kind: 'ipv6', value: 'f00d::1' }],
      ['cni-attachment-id:abc:eth0', { kind: 'cni-attachment-id', value: 'abc:eth0' }],
    ];
    for (const [text, ref] of refs) {
      assert.equal((await server.raw(requestText('GET', `/v1/endpoint/${text}`))).status, 200, text);
      assert.deepEqual(server.agent.calls.at(-1)?.args, [ref]);
    }
  });

  it('survives random bodies, paths and methods: never a 5xx, every failure a JSON string', async () => {
    await using server = await startServer();
    const request = fc.record({
      method: fc.constantFrom('GET', 'PUT', 'POST', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'PURGE'),
      path: fc.oneof(
        fc.constantFrom(...operations.map(([, operation]) => pathWith(operation))),
        fc.webPath().map((path) => `/v1${path}`),
        fc.stringMatching(/^\/v1\/[!-~]{0,30}$/),
      ),
      body: fc.oneof(
        fc.json(),
        fc.string({ unit: 'binary' }),
        fc.json().map((json) => json.slice(1)),
      ),
    });
    await fc.assert(
      fc.asyncProperty(request, async ({ method, path, body }) => {
        const answer = await server.raw(requestText(method, path, body));
        assert.ok(
          answer.status >= 200 && answer.status < 500,
          `${method} ${path}: ${answer.status} ${answer.body}`,
        );
        if (answer.status >= 400 && method !== 'HEAD') assert.equal(typeof JSON.parse(answer.body), 'string');
      }),
      { numRuns: 400 },
    );
    assert.deepEqual(server.errors, []);
  });
});
