import type { SlabPool } from './slab-pool.ts';

/** What a tracker has of its surroundings. */
export interface TrackerParts {
  /** Memory of windows, where there are many paths. */
  readonly windows?: SlabPool | undefined;
  /** Whether the path beside it that the policy allows answers. */
  readonly isTwinAnswering?: (() => boolean) | undefined;
}
