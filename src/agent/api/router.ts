import type { HttpBindings } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { API_BASE_PATH, contract, type OperationName } from '../../api/contract.ts';
import type { Operation } from '../../api/contract-types.ts';
import { ApiError } from '../../api/errors.ts';
import type { CallContext } from '../../api/operations.ts';
import { errorText, UsageError } from '../../base/errors.ts';
import { stringifyJson } from '../../base/json.ts';
import { BodyCheck } from './explain.ts';
import { type HandlerDeps, handlers, type Reply } from './handlers.ts';
import { readParams } from './params.ts';
import { readJsonBody } from './request-body.ts';
import { addStateDbRoute } from './statedb.ts';

/** One finished call, for metrics. */
export interface ApiCallRecord {
  /** `GET`. */
  readonly method: string;
  /** The template, `/v1/endpoint/{id}`; `unknown` for a path that is not served. */
  readonly path: string;
  readonly status: number;
  readonly durationMs: number;
}

export interface RouterOptions extends HandlerDeps {
  readonly onCall?: ((record: ApiCallRecord) => void) | undefined;
  /** An operation threw what it should not: to be logged. */
  readonly onError?: ((error: unknown, operation: OperationName | undefined) => void) | undefined;
  /** Monotonic time in ms. */
  readonly now: () => number;
  /** For a whole call; then it answers 503 and the operation's signal is aborted. */
  readonly deadlineMs: number;
}

type Env = { Bindings: HttpBindings };
type AnyHandler = (deps: HandlerDeps, input: object, context: CallContext) => Promise<Reply>;

const DEFAULT_MAX_BODY_BYTES = 1024 * 1024;

/** The routes of the contract, each: parameters, body, operation, answer. Never throws. */
export function createRouter(options: RouterOptions): Hono<Env> {
  const app = new Hono<Env>();
  const names = Object.keys(contract) as OperationName[];
  for (const name of names) addRoute(app, name, options);
  for (const path of new Set(names.map((name) => contract[name].path)))
    refuseOtherMethods(app, path, options);
  addStateDbRoute(app);
  app.notFound((c) => answerUnknown(c, options));
  app.onError((error, c) => {
    options.onError?.(error, undefined);
    return errorReply(c, new ApiError(500, errorText(error), { cause: error }));
  });
  return app;
}

function addRoute(app: Hono<Env>, name: OperationName, options: RouterOptions): void {
  const operation: Operation = contract[name];
  const check = operation.body && new BodyCheck(operation.body.name, operation.body.schema);
  // The contract types parameters and body per operation; here they were just read by that same contract.
  const handle = handlers[name] as AnyHandler;
  app.on(operation.method.toUpperCase(), routePath(operation.path), async (c) => {
    const started = options.now();
    const response = await answerCall(c, { name, operation, check, handle }, options);
    record(c, operation.path, response.status, started, options);
    return response;
  });
}

interface Route {
  readonly name: OperationName;
  readonly operation: Operation;
  readonly check: BodyCheck | undefined;
  readonly handle: AnyHandler;
}

async function answerCall(c: Context<Env>, route: Route, options: RouterOptions): Promise<Response> {
  const deadline = callDeadline(c, options.deadlineMs);
  try {
    const body = await readBody(c, route);
    const params = readParams(route.operation.params, {
      path: (name) => c.req.param(name),
      query: (name) => c.req.query(name),
      header: (name) => c.req.header(name),
    });
    const call = route.handle(options, { params, body }, { signal: deadline.signal });
    return replyWith(await Promise.race([call, deadline.passed]));
  } catch (error) {
    return errorReply(c, asApiError(error, route, options));
  } finally {
    deadline.clear();
  }
}

async function readBody(c: Context<Env>, route: Route): Promise<unknown> {
  const spec = route.operation.body;
  const read = await readJsonBody(c.env.incoming, spec?.maxBytes ?? DEFAULT_MAX_BODY_BYTES);
  if (spec === undefined) return undefined;
  if (read === undefined) {
    if (spec.required) throw new ApiError(400, 'a body is required', { field: spec.name });
    return undefined;
  }
  if (spec.asText) return typeof read.value === 'string' ? read.value : read.text;
  return route.check?.read(read.value);
}

/** A signal that is aborted, and a promise that rejects, when the caller hangs up or the time is over. */
function callDeadline(c: Context<Env>, deadlineMs: number) {
  const controller = new AbortController();
  const { promise: passed, reject } = Promise.withResolvers<never>();
  passed.catch(() => undefined);
  const end = (error: ApiError): void => {
    controller.abort(error);
    reject(error);
  };
  const late = (): void =>
    end(new ApiError(503, `not done within ${deadlineMs / 1000} s`, { code: 'DEADLINE' }));
  const gone = (): void => {
    if (!c.env.outgoing.writableFinished) end(new ApiError(503, 'the caller hung up', { code: 'HUNG_UP' }));
  };
  const timer = setTimeout(late, deadlineMs);
  c.env.outgoing.on('close', gone);
  const clear = (): void => {
    clearTimeout(timer);
    c.env.outgoing.off('close', gone);
  };
  return { signal: controller.signal, passed, clear };
}

function asApiError(error: unknown, route: Route, options: RouterOptions): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof UsageError) return new ApiError(400, error.message, { cause: error });
  options.onError?.(error, route.name);
  return new ApiError(500, errorText(error), { cause: error });
}

function replyWith(reply: Reply): Response {
  const status = reply.status ?? 200;
  if (reply.body === undefined) return new Response(null, { status, headers: { 'content-length': '0' } });
  if (reply.mediaType !== undefined) {
    return new Response(String(reply.body), { status, headers: { 'content-type': reply.mediaType } });
  }
  return jsonResponse(status, reply.body);
}

/** The payload of every error is a bare JSON string. After an unread body the connection is of no more use. */
function errorReply(c: Context<Env>, error: ApiError): Response {
  const text = error.hint === undefined ? error.message : `${error.message} (${error.hint})`;
  return jsonResponse(error.status, text, c.env.incoming.complete ? {} : { connection: 'close' });
}

function jsonResponse(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return new Response(stringifyJson(body), {
    status,
    headers: { 'content-type': 'application/json', ...headers },
  });
}

function refuseOtherMethods(app: Hono<Env>, path: string, options: RouterOptions): void {
  const allowed = Object.values(contract as Record<string, Operation>)
    .filter((operation) => operation.path === path)
    .map((operation) => operation.method.toUpperCase());
  app.all(routePath(path), (c) => {
    const started = options.now();
    const text = `${c.req.method} is not served on ${API_BASE_PATH}${path}, only ${allowed.join(', ')}`;
    const response = errorReply(c, new ApiError(405, text));
    response.headers.set('allow', allowed.join(', '));
    record(c, path, response.status, started, options);
    return response;
  });
}

function answerUnknown(c: Context<Env>, options: RouterOptions): Response {
  const response = errorReply(c, new ApiError(404, `no such path: ${c.req.path.slice(0, 200)}`));
  record(c, undefined, response.status, options.now(), options);
  return response;
}

function record(
  c: Context<Env>,
  path: string | undefined,
  status: number,
  started: number,
  options: RouterOptions,
) {
  options.onCall?.({
    method: c.req.method,
    path: path === undefined ? 'unknown' : `${API_BASE_PATH}${path}`,
    status,
    durationMs: options.now() - started,
  });
}

/** `/endpoint/{id}` -> `/v1/endpoint/:id`. */
function routePath(path: string): string {
  return `${API_BASE_PATH}${path.replace(/\{([\w-]+)\}/g, ':$1')}`;
}
