/** Where nodes and health endpoints answer. */
export const HEALTH_PORT = 4240;
/** What the responders of 2018 and 1.19 both need: the newer path. */
export const HELLO_PATH = '/hello';
export const DEFAULT_TIMEOUT_MS = 1000;
/** A longer answer is none of a responder's. */
export const ANSWER_BYTES_MAX = 16 * 1024;
/** Connections being made at once; more wait their turn, within their deadline. */
export const CONNECTIONS_MAX = 256;
