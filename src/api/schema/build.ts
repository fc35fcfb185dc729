import Type, { type Static, type TSchema, type TSchemaOptions } from 'typebox';

/**
 * The JSON value that a schema describes, as our code handles it: all of it read-only, and an optional member may also
 * be given as `undefined`, which is not sent.
 */
export type ModelOf<S extends TSchema> = Loose<Static<S>>;

type Loose<T> = T extends string | number | boolean | bigint | null | undefined
  ? T
  : T extends readonly (infer Item)[]
    ? readonly Loose<Item>[]
    : T extends object
      ? { readonly [K in keyof T]: IsOptional<T, K> extends true ? Loose<T[K]> | undefined : Loose<T[K]> }
      : T;

/** Whether a member may be absent; the members of an object used as a map are not optional. */
type IsOptional<T, K extends keyof T> = string extends K
  ? false
  : Record<never, never> extends Pick<T, K>
    ? true
    : false;

/** A named object: its title is its name in the OpenAPI document, where other schemas refer to it. */
export function model<P extends Type.TProperties>(
  title: string,
  properties: P,
  options: TSchemaOptions = {},
) {
  return Type.Object(properties, { title, ...options });
}

/** A member that may be absent. */
export const opt = Type.Optional;

/** A list. Go writes `null` for an empty one, so `null` is a list too. */
export function list<S extends TSchema>(items: S, options: TSchemaOptions = {}) {
  return Type.Union([Type.Array(items), Type.Null()], options);
}

/** An object used as a map from string. */
export function mapOf<S extends TSchema>(values: S, options: TSchemaOptions = {}) {
  return Type.Record(Type.String(), values, options);
}

/** Exactly these strings. */
export function oneOf<const V extends string[]>(...values: V) {
  return Type.Enum(values);
}

/** A string whose known values are these; a newer peer may send others, which are shown as they are. */
export function known<const V extends string[]>(...values: V) {
  return Type.Unsafe<V[number] | (string & Record<never, never>)>(Type.String({ examples: values }));
}

export const str = Type.String();
export const bool = Type.Boolean();
/** int64 on the wire. */
export const int = Type.Integer();
export const uint = Type.Integer({ minimum: 0 });
export const u16 = Type.Integer({ minimum: 0, maximum: 65535 });
/** RFC 3339; `0001-01-01T00:00:00.000Z` = never. */
export const timestamp = Type.String({ format: 'date-time', description: 'RFC 3339; year 1 = never' });
/** A time that is always told. */
export const instant = Type.String({
  format: 'date-time',
  default: '0001-01-01T00:00:00Z',
  description: 'RFC 3339',
});
/** Go duration as text: `1m0s`. */
export const duration = Type.String({ description: 'Go duration, e.g. 1m30s' });
