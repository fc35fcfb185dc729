import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { FlowLookup } from '../../src/datapath/index.ts';
import { ReservedIdentity } from '../../src/model/identity.ts';
import { sourceOf } from '../../src/wiring/proxy.ts';

const CLIENT = { address: '10.0.0.1', port: 4000 };
const SERVER = { address: '10.0.0.2', port: 80 };

function lookupOf(client: number, server: number): FlowLookup {
  const end = (identity: number) => ({ identity, local: true, redirects: false });
  return {
    find: () => ({ client: end(client), server: end(server), opensAsAsked: true, holds: () => true }),
    close: () => undefined,
  };
}

describe('the source of a proxy’s connection to a server', () => {
  it('is the client, with its port', () => {
    assert.deepEqual(sourceOf(lookupOf(1000, 2000), CLIENT, SERVER), CLIENT);
    assert.deepEqual(sourceOf(undefined, CLIENT, SERVER), CLIENT);
  });

  it('is another port of the node when the node is the client, whose socket has that one', () => {
    const source = sourceOf(lookupOf(ReservedIdentity.host, 2000), CLIENT, SERVER);
    assert.deepEqual(source, { address: CLIENT.address, port: 0 });
  });

  it('is left to the kernel when the node is the server: the proxy’s own socket has both addresses already', () => {
    assert.equal(sourceOf(lookupOf(1000, ReservedIdentity.host), CLIENT, SERVER), undefined);
  });
});
