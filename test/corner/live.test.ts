import { defineFlows } from './live/flows.ts';
import { defineConnections, definePackets } from './live/packets.ts';
import { defineRequests } from './live/requests.ts';
import { defineSelection } from './live/selection.ts';
import { describeLive } from './live/stage.ts';

describeLive({
  flows: defineFlows,
  packets: definePackets,
  selection: defineSelection,
  requests: defineRequests,
  connections: defineConnections,
});
