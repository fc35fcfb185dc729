import { describe, it } from 'node:test';
import type { LossPoint } from '../../src/model/health.ts';
import { HealthLab } from '../support/health-lab.ts';
import { at, between, follow, seen, startLab } from '../support/health-script.ts';
import { bpfOrSkip } from '../support/privilege.ts';

/**
 * All nodes think in this one process, which must have time to answer probes besides: they ask each other's agents seldom,
 * and only three of them have a datapath and programs on their devices, of which each takes 0.4 s of CPU to load and 50 MB
 * of the kernel's memory. An agent that comes back has connections of all others waiting, of which its server takes one each
 * turn of the event loop: here these turns are long, and it takes ten seconds until all others have heard of it.
 */
const NODES = Number(process.env.CILIATE_HEALTH_LAB_NODES ?? 64);
const DATAPATHS = 3;
const LINK_BYTES = 1500;
const NARROW_BYTES = 1400;

describe(`${NODES} nodes in one process, broken and healed on a script`, { skip: bpfOrSkip() }, () => {
  const lab = new HealthLab({ nodes: NODES, datapaths: DATAPATHS });

  /** What the others know of the size of packets that the paths to a node take: one number each. */
  const sizesTo = (i: number): (number | undefined)[] =>
    lab.nodes.toSpliced(i, 1).flatMap(({ health }) =>
      health
        .trackers()
        .filter(({ path, mtu }) => path.peer === `n${i}` && mtu !== undefined)
        .map(({ mtu }) => mtu?.bytes),
    );
  const areSizesTo = (i: number, bytes: number): boolean => {
    const sizes = sizesTo(i);
    return sizes.length >= NODES - 1 && sizes.every((known) => known === bytes);
  };
  const isDeniedAt =
    (i: number) =>
    (point: LossPoint | undefined): boolean =>
      point?.node === `n${i}` && /^Policy denied/.test(point.reason ?? '');

  startLab(lab);

  follow(lab, [
    {
      what: 'a node that is off the network',
      broken: [7],
      expected: [{ fault: 'node-down', isPlace: at(7) }],
      set: (isBroken) => lab.setLink(7, !isBroken),
    },
    {
      what: 'two nodes between which nothing passes',
      broken: [],
      expected: [{ fault: 'node-down', isPlace: between(2, 5) }],
      set: (isBroken) => lab.setPair(2, 5, !isBroken),
    },
    {
      what: 'two nodes between which nothing passes in one direction',
      broken: [],
      expected: [{ fault: 'node-down', isPlace: between(3, 6) }],
      set: (isBroken) => lab.setWay(3, 6, !isBroken),
    },
    {
      what: 'a node that answers requests but no echo',
      broken: [],
      expected: [{ fault: 'icmp-filtered', isPlace: at(4) }],
      set: (isBroken) => lab.setEcho(4, !isBroken),
    },
    {
      what: 'two faults at once',
      broken: [8],
      expected: [
        { fault: 'node-down', isPlace: at(8) },
        { fault: 'node-down', isPlace: between(15, 16) },
      ],
      set: (isBroken) => Promise.all([lab.setLink(8, !isBroken), lab.setPair(15, 16, !isBroken)]),
    },
    {
      what: 'a node whose endpoint denies echoes, and one whose endpoint lets through what it must deny',
      broken: [],
      expected: [
        { fault: 'policy-drop', isPlace: at(1), isLoss: isDeniedAt(1) },
        { fault: 'canary-open', isPlace: at(0) },
      ],
      set: (isBroken) =>
        Promise.all([
          lab.setPolicy(1, isBroken ? 'no-echo' : 'usual'),
          lab.setPolicy(0, isBroken ? 'open' : 'usual'),
        ]),
    },
  ]);

  it('know the size of packets that every link takes', () =>
    seen('all sizes', () => lab.nodes.every((_, i) => areSizesTo(i, LINK_BYTES))));

  follow(lab, [
    {
      what: 'a node that loses 30 % of what is sent to it',
      broken: [],
      expected: [{ fault: 'loss', isPlace: at(11) }],
      set: (isBroken) => lab.setLoss(11, isBroken ? 0.3 : 0),
    },
    {
      what: 'a node to which long packets vanish',
      broken: [],
      expected: [{ fault: 'mtu-black-hole', isPlace: at(12) }],
      isSeen: () => areSizesTo(12, NARROW_BYTES),
      set: (isBroken) => lab.setHole(12, isBroken ? NARROW_BYTES : undefined),
      isSeenHealed: () => areSizesTo(12, LINK_BYTES),
    },
    {
      what: 'no fault where a link takes shorter packets than others and a router says so',
      broken: [],
      expected: [],
      isSeen: () => areSizesTo(13, NARROW_BYTES),
      set: (isBroken) => lab.setMtu(13, isBroken ? NARROW_BYTES : undefined),
      isSeenHealed: () => areSizesTo(13, LINK_BYTES),
    },
    {
      what: 'a node whose agent hangs',
      broken: [14],
      expected: [{ fault: 'agent-hung', isPlace: at(14) }],
      set: (isBroken) => lab.setAgent(14, isBroken ? 'hung' : 'running'),
    },
    {
      what: 'a node whose agent is gone, so that its kernel refuses connections',
      broken: [17],
      expected: [{ fault: 'agent-hung', isPlace: at(17) }],
      set: (isBroken) => lab.setAgent(17, isBroken ? 'gone' : 'running'),
    },
    {
      what: 'a node whose stack hangs behind the programs of its device',
      broken: [2],
      expected: [{ fault: 'stack-hung', isPlace: at(2) }],
      set: (isBroken) => lab.setStack(2, isBroken),
    },
  ]);
});
