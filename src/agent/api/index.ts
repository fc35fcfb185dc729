/** The agent's REST API: routes, validation and errors, on its unix socket. The agent behind it is `AgentOperations`. */
export type { ApiCallRecord } from './router.ts';
export { type ApiServer, type ApiServerDeps, type ApiServerOptions, createApiServer } from './server.ts';
