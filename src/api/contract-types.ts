import type { TSchema } from 'typebox';
import type { EndpointRef } from './endpoint-ref.ts';
import type { IpFamily } from './operations.ts';
import type { ModelOf } from './schema.ts';

/** What the text of a path, query or header parameter must be, and what it is read as. */
export interface ParamTypes {
  readonly endpoint: EndpointRef;
  readonly identity: number;
  readonly ip: string;
  readonly cidr: string;
  readonly integer: number;
  readonly boolean: boolean;
  readonly family: IpFamily;
  readonly text: string;
}
export type ParamKind = keyof ParamTypes;

export interface Param<K extends ParamKind = ParamKind> {
  readonly in: 'path' | 'query' | 'header';
  readonly kind: K;
  readonly description?: string;
}

export interface Body<S extends TSchema = TSchema> {
  /** How messages call it: `endpoint` in `endpoint.labels[2]: expected string, got number`. */
  readonly name: string;
  readonly schema: S;
  /** Whether a call without a body is refused. */
  readonly required: boolean;
  /** The body is passed on as text: a JSON string is unwrapped, other JSON is passed as it was sent. */
  readonly asText?: boolean;
  /** Default 1 MiB. */
  readonly maxBytes?: number;
}

export interface Answer {
  readonly description: string;
  /** Absent: no body. */
  readonly schema?: TSchema;
  readonly mediaType?: string;
}

export type Method = 'get' | 'put' | 'post' | 'patch' | 'delete';

/** One operation of the API, as data: the server routes and validates by it, the OpenAPI document is made from it. */
export interface Operation<
  P extends Readonly<Record<string, Param>> = Readonly<Record<string, Param>>,
  B extends Body | undefined = Body | undefined,
> {
  readonly method: Method;
  /** Below the base path, `/endpoint/{id}`. */
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  readonly params: P;
  readonly body: B;
  readonly answers: Readonly<Record<number, Answer>>;
}

/** The parameters of an operation, read; one of the path is always there. */
export type ParamsOf<O extends Operation> = {
  readonly [N in keyof O['params']]: O['params'][N]['in'] extends 'path'
    ? ParamTypes[O['params'][N]['kind']]
    : ParamTypes[O['params'][N]['kind']] | undefined;
};

/** The body of an operation, read; `undefined` where it may be absent and is. */
export type BodyOf<O extends Operation> =
  O['body'] extends Body<infer S>
    ? O['body']['asText'] extends true
      ? string
      : O['body']['required'] extends true
        ? ModelOf<S>
        : ModelOf<S> | undefined
    : undefined;
