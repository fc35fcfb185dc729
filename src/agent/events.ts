import type { AgentEvent } from '../model/event.ts';

/** Takes what the agent did, for `monitor`. */
export type EmitEvent = (event: AgentEvent) => void;

/** Subtypes of agent events: the text after `>> ` in `monitor`. */
export const AgentEventType = {
  started: 'Cilium agent started',
  policyUpdated: 'Policy updated',
  policyDeleted: 'Policy deleted',
  endpointCreated: 'Endpoint created',
  endpointDeleted: 'Endpoint deleted',
  endpointRegenerated: 'Endpoint regenerated',
  endpointRegenerationFailed: 'Failed endpoint regeneration',
  ipcacheUpserted: 'IPCache entry upserted',
  ipcacheDeleted: 'IPCache entry deleted',
  serviceUpserted: 'Service upserted',
  serviceDeleted: 'Service deleted',
} as const;

export function agentEvent(
  subtype: (typeof AgentEventType)[keyof typeof AgentEventType],
  message: Readonly<Record<string, unknown>>,
): AgentEvent {
  return { kind: 'agent', subtype, message };
}
