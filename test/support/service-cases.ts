import assert from 'node:assert/strict';
import { parseIp } from '../../src/base/ip.ts';
import type { BackendState, ServiceProtocol } from '../../src/model/service.ts';
import { pathOf, readPacket } from './packet-reader.ts';
import { type L4, tcp } from './packets.ts';
import { type ProgramCases, syn } from './program-cases.ts';
import type { RunResult } from './program-rig.ts';

export const SERVICE_ADDRESSES = {
  4: {
    vip: '10.96.0.10',
    /** What a pod sees in the place of its own address. */
    loop: '169.254.42.1',
    anyNode: '0.0.0.0',
    others: ['10.0.7.8', '10.0.7.9', '10.0.7.10'],
  },
  6: {
    vip: 'fd96::10',
    loop: 'fd63:696c::1',
    anyNode: '::',
    others: ['fd00::7:8', 'fd00::7:9', 'fd00::7:10'],
  },
} as const;

export interface WantedService {
  readonly id?: number;
  readonly frontend?: string;
  readonly port?: number;
  readonly protocol?: ServiceProtocol;
  readonly affinitySeconds?: number;
}

/** Services in the rig of a family's cases, and what becomes of A's packets to them. */
export interface ServiceCases {
  readonly at: (typeof SERVICE_ADDRESSES)[4 | 6];
  /** Makes a service, by default `vip` at port 80 of TCP, with these backends at port 8080 (SCTP: at its own). */
  serve(
    backends: readonly (string | readonly [address: string, state: BackendState])[],
    wanted?: WantedService,
  ): void;
  /** Where a packet went that was not dropped. */
  path(result: RunResult): string;
  /** The backend, of another machine, to which a packet of A's from a port goes; by default it opens a flow of TCP. */
  backendOf(port: number, l4?: (from: number) => L4): string;
}

export function serviceCases(cases: ProgramCases): ServiceCases {
  const at = SERVICE_ADDRESSES[cases.family];
  return {
    at,
    serve(backends, { id = 7, frontend = at.vip, port = 80, protocol = 'TCP', affinitySeconds = 0 } = {}) {
      cases.rig.services.upsert({
        ...{ id, type: 'ClusterIP', affinitySeconds },
        frontend: { address: parseIp(frontend), port, protocol },
        backends: backends.map((backend) => {
          const [address, state] = typeof backend === 'string' ? ([backend, 'active'] as const) : backend;
          return { address: parseIp(address), port: protocol === 'SCTP' ? port : 8080, state };
        }),
      });
    },
    path(result) {
      assert.ok(result.verdict === 'pass' || result.verdict === 'redirect', result.verdict);
      return pathOf(readPacket(result.data));
    },
    backendOf(port, l4 = (from) => tcp(from, 80, syn)) {
      const result = cases.send(at.vip, l4(port));
      assert.equal(result.verdict, 'pass');
      return readPacket(result.data).destination;
    },
  };
}
