export { HEALTH_PORT, HELLO_PATH } from './constants.ts';
export { connectionFailure, createHttpProbe, type HttpProbeOptions } from './http.ts';
