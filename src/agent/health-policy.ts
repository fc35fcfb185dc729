import { FIRST_GENERATED_RULE } from '../model/generated-rules.ts';
import { healthEndpointPorts } from '../model/health-ports.ts';
import { parsePolicy, type StoredRule } from '../policy/index.ts';

const PROBERS = ['host', 'remote-node', 'health'];
const ECHO = [
  { family: 'IPv4', type: 8 },
  { family: 'IPv6', type: 128 },
];

const tcp = (...ports: readonly number[]): object => ({
  ports: ports.map((port) => ({ port: String(port), protocol: 'TCP' })),
});

/**
 * What health endpoints enforce beside the user's rules: probes between them and nodes pass, also where a policy drops by
 * default; the canary's port is denied to everybody, whatever else allows it. Neither turns default deny on.
 */
export function healthRules(port: number): readonly StoredRule[] {
  const { hello, allowed, denied } = healthEndpointPorts(port);
  const text = JSON.stringify([
    {
      endpointSelector: { matchLabels: { 'reserved:health': '' } },
      enableDefaultDeny: { ingress: false, egress: false },
      ingress: [
        { fromEntities: PROBERS, toPorts: [tcp(hello, allowed)] },
        { fromEntities: PROBERS, icmps: [{ fields: ECHO }] },
      ],
      egress: [
        { toEntities: PROBERS, toPorts: [tcp(hello, allowed, denied)] },
        { toEntities: PROBERS, icmps: [{ fields: ECHO }] },
      ],
      ingressDeny: [{ fromEntities: ['all'], toPorts: [tcp(denied)] }],
      labels: ['reserved:health-paths'],
      description: 'paths of health probes, and the canary that must be denied',
    },
  ]);
  const { rules, errors } = parsePolicy(text, { file: 'health-policy' });
  const [first] = errors;
  if (first !== undefined) throw new Error(`the policy of health endpoints: ${JSON.stringify(first)}`);
  return rules.map(({ rule }, i) => ({ id: FIRST_GENERATED_RULE + i, rule }));
}
