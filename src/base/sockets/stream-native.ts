import { getSystemErrorName } from 'node:util';

declare const handleBrand: unique symbol;
/** A `struct stream` of stream_addon.c. */
export interface StreamHandle {
  readonly [handleBrand]: true;
}

/** `enum event` of stream_addon.c. */
export const STREAM_EVENT = { readable: 1, writable: 2, error: 4 } as const;

/** The functions of `build/sockets.node` for TCP; the comments in stream_addon.c are their contract. */
export interface StreamNative {
  streamOpen(fd: number, onEvent: (events: number) => void): StreamHandle;
  streamWatch(stream: StreamHandle, events: number): number;
  streamRead(stream: StreamHandle, bytes: Uint8Array): number;
  streamStamp(stream: StreamHandle): number;
  streamReadStamped(stream: StreamHandle, bytes: Uint8Array, stamp: Uint8Array): number;
  streamRoundTrip(stream: StreamHandle): number;
  streamWrite(stream: StreamHandle, bytes: Uint8Array): number;
  streamShutdown(stream: StreamHandle): number;
  streamNoDelay(stream: StreamHandle): number;
  streamConnect(stream: StreamHandle, address: string, port: number): number;
  streamError(stream: StreamHandle): number;
  streamAccept(stream: StreamHandle): number | readonly [number, string, number, string, number];
  streamDetach(stream: StreamHandle): number;
  streamClose(stream: StreamHandle, reset: number): void;
}

/** Shaped like Node's own errors of system calls. @param result negative errno */
export function streamError(call: string, result: number): NodeJS.ErrnoException {
  const code = getSystemErrorName(result);
  return Object.assign(new Error(`${call} ${code}`), { errno: result, code, syscall: call });
}

/** Whether a call would have had to wait. */
export function wouldWait(result: number): boolean {
  return result === EAGAIN || result === EINTR;
}
const EAGAIN = -11;
const EINTR = -4;
