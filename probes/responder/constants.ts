/** Answered with 200; everything else with 404. The second is the path of 2018. */
export const HELLO_PATHS: ReadonlySet<string> = new Set(['/hello', '/v1beta/hello']);
/** A request's line and headers together. */
export const HEAD_BYTES_MAX = 4096;
/** For a request to arrive whole. */
export const REQUEST_TIMEOUT_MS = 2000;
export const KEEP_ALIVE_MS = 5000;
/** Each costs some 10 KB; peers in a cluster of thousands do not come at once. */
export const CONNECTIONS_MAX = 512;
/** Of those from one address, listed or not: a node needs a few at once, and comes again. */
export const CONNECTIONS_A_SOURCE = 64;
/** Of those from addresses that are not in the node list, together. */
export const STRANGERS_MAX = 128;
export const REQUESTS_A_CONNECTION = 100;
/** Requests with a body that are read at once, over all routes: each holds its body in memory. */
export const ROUTE_REQUESTS_MAX = 16;
