export { HEALTH_PORT, HELLO_PATH } from './constants.ts';
export { connectionFailure } from './failure.ts';
export { createHttpProbe, type HttpProbeOptions } from './http.ts';
