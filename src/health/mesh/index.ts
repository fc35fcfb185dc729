export type { PackedCell } from './cell-arena.ts';
export type { PackedMatrix } from './matrix.ts';
export { Mesh, type MeshDeps } from './mesh.ts';
export { notesOf } from './notes.ts';
