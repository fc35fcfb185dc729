import { object } from '../world.ts';

export const FROM_CLIENT = 'fromEndpoints: [{matchLabels: {app: client}}]';
export const TO_SERVER = 'toEndpoints: [{matchLabels: {app: server}}]';
export const PORT_80 = 'toPorts: [{ports: [{port: "80", protocol: TCP}]}]';

/** An object of the namespace `default` for both servers, with these items of ingress, written as a flow sequence. */
export const toServers = (items: string, more = ''): string =>
  object(`endpointSelector: {matchLabels: {app: server}}\ningress: ${items}${more}`, 'in');

/** One for what leaves the client. */
export const fromClient = (items: string): string =>
  object(`endpointSelector: {matchLabels: {app: client}}\negress: ${items}`, 'out');

/** One for what leaves the client and what comes to it. */
export const forClient = (ingress: string, egress: string): string =>
  object(`endpointSelector: {matchLabels: {app: client}}\ningress: ${ingress}\negress: ${egress}`, 'both');
