import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type BpfMap, loadBpf } from '../../bpf/addon/index.ts';
import { readWaypoints, WAYPOINT_ANSWER, type Waypoint } from '../base/waypoint.ts';
import { Hook, MapName } from '../model/constants.gen.ts';
import { pinFolders } from './pins.ts';

const HOOKS = [Hook.fromPod, Hook.toPod, Hook.fromNetdev, Hook.toHost, Hook.fromHost];
const PLACES = HOOKS.flatMap((hook) => [hook, hook | WAYPOINT_ANSWER]);

/** Where probes were seen by a node's datapath, whoever sent them. */
export class WaypointTable {
  readonly #file: string;
  #map: BpfMap | undefined;

  constructor(bpfDir: string) {
    this.#file = join(pinFolders(bpfDir).maps, MapName.waypoints);
  }

  /** None without a datapath. @throws BpfError when the map cannot be read */
  read(path: { readonly prober: number; readonly path: number }): readonly Waypoint[] {
    if (this.#map === undefined && existsSync(this.#file)) this.#map = loadBpf().openPinnedMap(this.#file);
    const map = this.#map;
    return map === undefined ? [] : readWaypoints((key) => map.lookup(key), path, PLACES);
  }

  /** May be called twice. */
  close(): void {
    this.#map?.close();
    this.#map = undefined;
  }
}
