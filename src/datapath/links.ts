import { unlinkSync } from 'node:fs';
import { join } from 'node:path';
import {
  type AttachOptions,
  type Bpf,
  BpfAttachType,
  type BpfLink,
  type BpfProgram,
} from '../../bpf/addon/index.ts';
import { listPins } from './pins.ts';
import type { AttachedHook } from './programs.ts';

const ATTACH_TYPE: Readonly<Record<AttachedHook, number>> = {
  from_pod: BpfAttachType.tcxIngress,
  to_pod: BpfAttachType.tcxEgress,
  from_netdev: BpfAttachType.tcxIngress,
  to_host: BpfAttachType.tcxIngress,
  from_host: BpfAttachType.tcxEgress,
};

function parsePin(name: string): { readonly ifindex: number; readonly hook: AttachedHook } | undefined {
  const match = /^(\d+)_(.+)$/.exec(name);
  const hook = match?.[2];
  if (match === null || hook === undefined || !Object.hasOwn(ATTACH_TYPE, hook)) return undefined;
  return { ifindex: Number(match[1]), hook: hook as AttachedHook };
}

/**
 * Our tcx links, pinned as `<ifindex>_<hook>` (a bpffs takes no dots, which device names may have). While a pin is
 * there the program runs, whether or not an agent does.
 */
export class Links {
  readonly #bpf: Bpf;
  readonly #folder: string;
  readonly #programs: Readonly<Record<AttachedHook, BpfProgram>>;
  readonly #netns: string | undefined;

  /** @param netns path of the network namespace whose devices are meant; default: the process's */
  constructor(
    bpf: Bpf,
    folder: string,
    programs: Readonly<Record<AttachedHook, BpfProgram>>,
    netns?: string,
  ) {
    this.#bpf = bpf;
    this.#folder = folder;
    this.#programs = programs;
    this.#netns = netns;
  }

  #path(ifindex: number, hook: AttachedHook): string {
    return join(this.#folder, `${ifindex}_${hook}`);
  }

  /**
   * Puts our program on every pinned link whose device still exists, without a gap, and forgets the others.
   * @returns the devices that each hook is on
   */
  adopt(): Readonly<Record<AttachedHook, ReadonlySet<number>>> {
    const found: Record<AttachedHook, Set<number>> = {
      from_pod: new Set(),
      to_pod: new Set(),
      from_netdev: new Set(),
      to_host: new Set(),
      from_host: new Set(),
    };
    for (const name of listPins(this.#folder)) {
      const pin = parsePin(name);
      if (pin === undefined) continue;
      const link = this.#bpf.openPinnedLink(join(this.#folder, name));
      if (link === undefined) continue;
      try {
        if (link.info.ifindex === pin.ifindex) {
          link.update(this.#programs[pin.hook]);
          found[pin.hook].add(pin.ifindex);
        } else {
          unlinkSync(join(this.#folder, name));
        }
      } finally {
        link.close();
      }
    }
    return found;
  }

  /** Attaches and pins; a link that is pinned there already gets the program instead. */
  attach(ifindex: number, hook: AttachedHook): void {
    if (!this.#replace(ifindex, hook)) {
      this.#pin(this.#programs[hook].attach(this.#attachment(ifindex, hook)), ifindex, hook);
    }
  }

  /** As `attach`, while the event loop goes on: the kernel takes 8 to 16 ms for a new link. */
  async attachAsync(ifindex: number, hook: AttachedHook): Promise<void> {
    if (this.#replace(ifindex, hook)) return;
    this.#pin(await this.#programs[hook].attachAsync(this.#attachment(ifindex, hook)), ifindex, hook);
  }

  #attachment(ifindex: number, hook: AttachedHook): AttachOptions {
    return { attachType: ATTACH_TYPE[hook], ifindex, netns: this.#netns };
  }

  /** @returns false when no link of this device is pinned */
  #replace(ifindex: number, hook: AttachedHook): boolean {
    const path = this.#path(ifindex, hook);
    const old = this.#bpf.openPinnedLink(path);
    if (old === undefined) return false;
    try {
      if (old.info.ifindex === ifindex) {
        old.update(this.#programs[hook]);
        return true;
      }
      unlinkSync(path);
      return false;
    } finally {
      old.close();
    }
  }

  #pin(link: BpfLink, ifindex: number, hook: AttachedHook): void {
    try {
      link.pin(this.#path(ifindex, hook));
    } finally {
      link.close();
    }
  }

  /**
   * Gives up the programs of an endpoint's device. They stay on it for as long as it exists, and drop whatever comes
   * by it, since no endpoint is behind it any more: taken off they would leave their pod connected and unguarded.
   */
  release(ifindex: number): void {
    for (const hook of ['from_pod', 'to_pod'] as const) this.#forgetIfGone(ifindex, hook);
  }

  /** Removes the pins of devices that are gone. @returns how many went */
  sweep(): number {
    let gone = 0;
    for (const name of listPins(this.#folder)) {
      const pin = parsePin(name);
      if (pin !== undefined && this.#forgetIfGone(pin.ifindex, pin.hook)) gone++;
    }
    return gone;
  }

  #forgetIfGone(ifindex: number, hook: AttachedHook): boolean {
    const path = this.#path(ifindex, hook);
    const link = this.#bpf.openPinnedLink(path);
    if (link === undefined) return false;
    const gone = link.info.ifindex !== ifindex;
    link.close();
    if (gone) unlinkSync(path);
    return gone;
  }

  /** Takes the program off; nothing happens when it is not there. */
  detach(ifindex: number, hook: AttachedHook): void {
    const path = this.#path(ifindex, hook);
    const link = this.#bpf.openPinnedLink(path);
    if (link === undefined) return;
    unlinkSync(path);
    link.close();
  }
}
