import { DevicePlace, type Waypoint } from '../../base/waypoint.ts';
import { dropReasonText, hookText } from '../../model/constants.gen.ts';

/** A path as its prober numbers it: in the cookie of each of its probes. */
export interface PathId {
  readonly prober: number;
  readonly path: number;
}

/** Where the last probe of a path was seen on a node. */
export interface Sighting {
  /** `from_pod`, `to_pod`, `from_netdev`, `to_host`, `from_host`: the datapath; `ingress`, `echo`: a device that leads to other nodes. */
  readonly hook: string;
  readonly leg: 'request' | 'answer';
  readonly agoMs: number;
  /** Why our program dropped it there; undefined: it passed. */
  readonly reason: string | undefined;
}

/** What one node saw of a path. */
export interface Sightings {
  /** Whether programs stand on its devices: without, that nothing came in says nothing. */
  readonly devices: boolean;
  readonly seen: readonly Sighting[];
}

const DEVICE_HOOKS: Readonly<Record<number, string>> = {
  [DevicePlace.ingress]: 'ingress',
  [DevicePlace.echo]: 'echo',
};
const SEEN_MAX = 16;
const REASON_MAX = 100;

export function sightingsOf(waypoints: readonly Waypoint[], nowNs: number): Sighting[] {
  return waypoints.map(({ hook, leg, atNs, dropReason }) => ({
    hook: DEVICE_HOOKS[hook] ?? hookText[hook] ?? `hook ${hook}`,
    leg,
    agoMs: Math.max(0, (nowNs - atNs) / 1e6),
    reason: dropReason === 0 ? undefined : (dropReasonText[dropReason] ?? `drop reason ${dropReason}`),
  }));
}

export function encodeSightings({ devices, seen }: Sightings): Buffer {
  const rows = seen.map(({ hook, leg, agoMs, reason }) => ({ hook, leg, 'ago-ms': agoMs, reason }));
  return Buffer.from(JSON.stringify({ devices, seen: rows }));
}

function readSighting(value: unknown): Sighting[] {
  if (typeof value !== 'object' || value === null) return [];
  const { hook, leg, 'ago-ms': agoMs, reason } = value as Record<string, unknown>;
  if (typeof hook !== 'string' || !/^[a-z_ 0-9]{1,20}$/.test(hook)) return [];
  if ((leg !== 'request' && leg !== 'answer') || typeof agoMs !== 'number' || !(agoMs >= 0)) return [];
  return [{ hook, leg, agoMs, reason: typeof reason === 'string' ? reason.slice(0, REASON_MAX) : undefined }];
}

/** @returns undefined for what is no answer to a question for sightings */
export function decodeSightings(body: Uint8Array): Sightings | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString('utf8'));
    if (typeof value !== 'object' || value === null) return undefined;
    const { devices, seen } = value as Record<string, unknown>;
    if (typeof devices !== 'boolean' || !Array.isArray(seen)) return undefined;
    return { devices, seen: seen.slice(0, SEEN_MAX).flatMap(readSighting) };
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

const isU32 = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff;

/** The question for what a node saw of a path. @returns undefined for what is none */
export function decodeQuestion(body: Uint8Array): PathId | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString('utf8'));
    const { prober, path } = (value ?? {}) as Record<string, unknown>;
    return isU32(prober) && isU32(path) ? { prober, path } : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

export function encodeQuestion({ prober, path }: PathId): Buffer {
  return Buffer.from(JSON.stringify({ prober, path }));
}
