import { defineAgents, defineEndpoints } from './live/endpoints.ts';
import { defineFlows } from './live/flows.ts';
import { defineLimits } from './live/limits.ts';
import { defineNames } from './live/names.ts';
import { defineConnections, definePackets } from './live/packets.ts';
import { defineRequests } from './live/requests.ts';
import { defineSelection } from './live/selection.ts';
import { defineServiceRules } from './live/service-rules.ts';
import { defineServices } from './live/services.ts';
import { describeLive } from './live/stage.ts';

describeLive({
  flows: defineFlows,
  packets: definePackets,
  selection: defineSelection,
  requests: defineRequests,
  names: defineNames,
  services: defineServices,
  'rules of services': defineServiceRules,
  endpoints: defineEndpoints,
  connections: defineConnections,
  limits: defineLimits,
  agents: defineAgents,
});
