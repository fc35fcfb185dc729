import type { Origin } from '../base/config.ts';
import type { Logger } from '../base/log.ts';
import type { NodePaths } from '../base/paths.ts';
import type { ConntrackFlow } from '../datapath/index.ts';
import type { Datapath } from '../datapath/types.ts';
import type { MonitorEvent } from '../model/event.ts';
import type { Store } from '../store/types.ts';
import type { Controllers } from './controllers.ts';
import type { EndpointManager } from './endpoint-manager.ts';
import type { HealthPart } from './health-part.ts';
import type { Ipam } from './ipam.ts';
import type { NetworkSetup } from './network-setup.ts';
import type { NodeFacts } from './node-facts.ts';
import type { AgentOptions } from './options.ts';
import type { ProxyClientDeps } from './proxy-client.ts';
import type { ProxyPart } from './proxy-part.ts';

/** Where monitor events go: the events socket of `monitor`. */
export interface EventSink {
  start(): Promise<void>;
  stop(): Promise<void>;
  publish(events: readonly MonitorEvent[]): void;
  /** Whether anybody gets what is published now. */
  heard(): boolean;
  /** Events that a listener was too slow for, since the start. */
  lost(): number;
}

/** What the health part needs of the agent. */
export interface HealthContext {
  readonly manager: EndpointManager;
  readonly ipam: Ipam;
  readonly controllers: Controllers;
  /** The health endpoint's addresses are known or changed: the node is to be published anew. */
  readonly onAddresses: () => void;
  /** Whether endpoints enforce policies at all. */
  readonly isPolicyEnforced: () => boolean;
}

/** What the proxy part needs of the agent. */
export interface ProxyContext extends Omit<ProxyClientDeps, 'log'> {
  readonly controllers: Controllers;
  readonly now: () => Date;
}

export interface AgentDeps {
  readonly options: AgentOptions;
  /** Where each option came from; undefined when the agent was made as an object. */
  readonly origins?: Readonly<Record<string, Origin>> | undefined;
  readonly paths: NodePaths;
  readonly node: NodeFacts;
  readonly version: string;
  readonly storeSpec: string;
  readonly store: Store;
  readonly datapath: Datapath;
  /** The flows of the conntrack maps. */
  readonly flows: () => Iterable<ConntrackFlow>;
  readonly network: NetworkSetup;
  readonly events: EventSink;
  readonly health: (context: HealthContext) => HealthPart;
  readonly proxy: (context: ProxyContext) => ProxyPart;
  readonly log: Logger;
  readonly now?: (() => Date) | undefined;
}
