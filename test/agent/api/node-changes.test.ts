import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { NodeChanges } from '../../../src/agent/api/node-changes.ts';

const node = (name: string, ip: string) => ({ name, 'primary-address': { ipv4: { ip } } });

describe('NodeChanges', () => {
  const one = { self: 'a', nodes: [node('a', '10.0.0.1')] };
  const two = { self: 'a', nodes: [node('a', '10.0.0.9'), node('b', '10.0.0.2')] };

  it('gives all nodes and no id to a client that says none', () => {
    const changes = new NodeChanges({ now: () => 0, random: () => 0 });
    assert.deepEqual(changes.answer(one, undefined), {
      self: 'a',
      'nodes-added': one.nodes,
      'nodes-removed': null,
    });
  });

  it('gives a new client all nodes and an id, and then what changed', () => {
    const changes = new NodeChanges({ now: () => 0, random: () => 0 });
    const first = changes.answer(one, 0);
    assert.deepEqual(first, { self: 'a', 'client-id': 1, 'nodes-added': one.nodes, 'nodes-removed': [] });
    assert.deepEqual(changes.answer(one, 1), {
      self: 'a',
      'client-id': 1,
      'nodes-added': [],
      'nodes-removed': [],
    });
    assert.deepEqual(changes.answer(two, 1), {
      self: 'a',
      'client-id': 1,
      'nodes-added': two.nodes,
      'nodes-removed': one.nodes,
    });
    assert.deepEqual(changes.answer(one, 1)['nodes-removed'], two.nodes);
  });

  it('starts a client anew that has not asked for five minutes', () => {
    let now = 0;
    let random = 0;
    const changes = new NodeChanges({ now: () => now, random: () => random });
    changes.answer(one, 0);
    now = 5 * 60_000 + 1;
    random = 0.5;
    const answer = changes.answer(one, 1);
    assert.notEqual(answer['client-id'], 1);
    assert.deepEqual(answer['nodes-added'], one.nodes);
  });

  it('forgets the oldest clients when there are very many', () => {
    let id = 0;
    const changes = new NodeChanges({ now: () => 0, random: () => id++ / 2 ** 40 });
    const first = changes.answer(one, 0)['client-id'];
    for (let i = 0; i < 400; i++) changes.answer(one, 0);
    assert.deepEqual(changes.answer(one, first)['nodes-added'], one.nodes, 'the first one is new again');
  });
});
