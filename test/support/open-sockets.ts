import assert from 'node:assert/strict';
import { readdirSync, readlinkSync } from 'node:fs';

/** Sockets that this process has open. */
export function openSockets(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith('socket:');
    } catch (error) {
      // The descriptor that listed the folder is gone again.
      assert.ok(error instanceof Error && 'code' in error && error.code === 'ENOENT');
      return false;
    }
  }).length;
}
