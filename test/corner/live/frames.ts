import assert from 'node:assert/strict';
import { type L4, type PacketOptions, packet } from '../../support/packets.ts';
import { eventually } from '../../support/process.ts';
import { Wire } from '../../support/wire.ts';
import type { Stage } from './stage.ts';

export type FrameOptions = Partial<PacketOptions> & { readonly family?: 4 | 6 };

interface Pod {
  readonly wire: Wire;
  readonly mac: Uint8Array;
  readonly hostMac: Uint8Array;
}

const macBytes = (text: string): Uint8Array =>
  Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16));

/** Frames from the inside of pods, past their kernels, and those that come in there. */
export class Frames {
  readonly #stage: Stage;
  readonly #pods = new Map<string, Pod>();

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  async open(names: readonly string[]): Promise<void> {
    const { live, wire } = this.#stage;
    for (const name of names) {
      const link = (await live.endpoint(name)).status?.networking;
      this.#pods.set(name, {
        wire: await Wire.open(wire, live.lab.workload(name).netns),
        mac: macBytes(link?.mac ?? ''),
        hostMac: macBytes(link?.['host-mac'] ?? ''),
      });
    }
  }

  async close(): Promise<void> {
    for (const { wire } of this.#pods.values()) await wire.close();
  }

  pod(name: string): Pod {
    return this.#pods.get(name) ?? assert.fail(`no wire into ${name}`);
  }

  /** A frame from a pod to another place, as its kernel would send it but for `options`. */
  frame(from: string, to: string, payload: L4, { family = 4, ...options }: FrameOptions = {}): Buffer {
    const { live } = this.#stage;
    const { mac, hostMac } = this.pod(from);
    const ends = { source: live.address(from, family), destination: live.address(to, family) };
    return packet({ ...ends, sourceMac: mac, destinationMac: hostMac, payload, ...options });
  }

  send(from: string, bytes: Buffer): Promise<void> {
    return this.pod(from).wire.send(bytes);
  }

  /** Sends a frame from a pod that has to be dropped, for this reason if one is given. */
  async dropped(from: string, bytes: Buffer, reason?: number): Promise<void> {
    const { live } = this.#stage;
    const before = live.drops(reason);
    await this.send(from, bytes);
    await eventually(`a drop for reason ${reason}`, () => live.drops(reason) > before || undefined);
  }

  /** Whether a frame with this text has come in at a pod. */
  heard(name: string, text: string): boolean {
    const bytes = Buffer.from(text);
    return this.pod(name).wire.received.some((got) => got.includes(bytes));
  }
}
