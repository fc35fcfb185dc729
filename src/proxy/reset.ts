import type { ByteStream } from './types.ts';

/**
 * Ends a connection with a RST; one whose FIN was sent is closed only. Node 24 loses the descriptor otherwise: libuv
 * refuses to reset a socket that is being shut down, and nobody closes it then (`uv_tcp_close_reset`). May go when
 * `resetAndDestroy` closes what it cannot reset.
 */
export function reset(socket: ByteStream): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}
