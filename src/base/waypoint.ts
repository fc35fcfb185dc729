/** What a program knows of a path's probes at one place: `struct waypoint` and its key, bpf/lib/waypoint.h. */
export interface Waypoint {
  /** Number of the hook: HOOK_* of the datapath, or one of `DevicePlace`. */
  readonly hook: number;
  readonly leg: 'request' | 'answer';
  /** When the last one was there, monotonic ns of that node. */
  readonly atNs: number;
  /** `DROP_*` if our program dropped the last one; 0: it passed. */
  readonly dropReason: number;
}

/** Places of health's own programs, on devices that lead to other nodes. */
export const DevicePlace = { ingress: 16, echo: 17 } as const;
/** Bit of a place: of an answer, not of a request. */
export const WAYPOINT_ANSWER = 0x100;
export const WAYPOINT_KEY_BYTES = 12;

/** What reads one entry of a map of waypoints; undefined: there is none. */
export type WaypointLookup = (key: Buffer) => Buffer | undefined;

/** `struct waypoint_key`: prober and path as in the cookie, in network order. */
function waypointKey(prober: number, path: number, place: number): Buffer {
  const key = Buffer.alloc(WAYPOINT_KEY_BYTES);
  key.writeUInt32BE(prober >>> 0);
  key.writeUInt32BE(path >>> 0, 4);
  key.writeUInt32LE(place, 8);
  return key;
}

/** `struct waypoint`, in the machine's order, which is little endian. */
function decodeWaypoint(place: number, value: Buffer): Waypoint {
  return {
    hook: place & 0xff,
    leg: (place & WAYPOINT_ANSWER) === 0 ? 'request' : 'answer',
    atNs: Number(value.readBigUInt64LE()),
    dropReason: value.readUInt32LE(12) === value.readUInt32LE(8) ? value.readUInt32LE(16) : 0,
  };
}

/** The waypoints of a path at the given places. */
export function readWaypoints(
  lookup: WaypointLookup,
  { prober, path }: { readonly prober: number; readonly path: number },
  places: readonly number[],
): Waypoint[] {
  return places.flatMap((place) => {
    const value = lookup(waypointKey(prober, path, place));
    return value === undefined ? [] : [decodeWaypoint(place, value)];
  });
}
