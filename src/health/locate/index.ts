export { Diagnoser, type OwnPaths } from './diagnoser.ts';
