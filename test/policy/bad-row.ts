import type { ProblemCode } from '../../src/policy/problem.ts';
import { object } from './bad-texts.ts';

/** A rule of one line. */
export const rule = (parts: string): string => `- {endpointSelector: {}, ${parts}}\n`;
export const egress = (item: string): string => rule(`egress: [${item}]`);
export const ingress = (item: string): string => rule(`ingress: [${item}]`);
export const l7 = (rules: string, ports = '[{port: "80", protocol: TCP}]'): string =>
  egress(`{toPorts: [{ports: ${ports}, rules: ${rules}}]}`);
export const clusterwide = (spec: string): string =>
  object(spec).replace('CiliumNetworkPolicy', 'CiliumClusterwideNetworkPolicy');
export const networkPolicy = (spec: string): string =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: ${spec}\n`;
export const group = (spec: string): string =>
  `apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: g}\nspec: ${spec}\n`;

/** Name, text, what the place's text begins with, the field, code, reason, hint. */
export type Row = readonly [
  name: string,
  text: string,
  mark: string,
  field: string,
  code: ProblemCode,
  reason: RegExp,
  hint?: RegExp,
];

export const E0 = '[0].egress[0]';
export const I0 = '[0].ingress[0]';
export const P0 = `${E0}.toPorts[0]`;
