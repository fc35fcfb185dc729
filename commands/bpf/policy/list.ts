/** Without an endpoint `bpf policy get` shows every one. */
export { default } from './get.ts';
