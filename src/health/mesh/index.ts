export type { PackedCell } from './cell-arena.ts';
export type { RowRequest, RowTransport } from './exchange.ts';
export type { ExchangeCounters } from './exchange-counters.ts';
export { createHttpTransport, type HttpTransportOptions } from './http-transport.ts';
export type { PackedMatrix } from './matrix.ts';
export { Mesh, type MeshAnswer, type MeshDeps } from './mesh.ts';
export { NodeDirectory } from './node-directory.ts';
export { notesOf } from './notes.ts';
export { type RowService, rowRoutes } from './routes.ts';
