export { Diagnoser, type DiagnoserOptions } from './diagnoser.ts';
