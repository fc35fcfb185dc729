import type * as Api from '../../api/schema.ts';
import type { Identity } from '../../model/identity.ts';
import { parseLabel } from '../../model/labels.ts';
import { Protocol } from '../../model/map-state.ts';
import {
  evaluateMapState,
  evaluateNaive,
  PolicyResolver,
  Repository,
  readPolicy,
} from '../../policy/index.ts';

const OPTIONS = { mode: 'default', allowLocalhost: 'always', clusterName: 'default' } as const;

export interface ModelVerdict {
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly allowed: boolean;
  /** Whether the policy read rule by rule says the same as its compiled form. */
  readonly agreed: boolean;
}

/** An identity of the API in the model's form. */
export function modelIdentity({ id, labels }: Api.Identity): Identity {
  return { id: id ?? 0, labels: (labels ?? []).map((text) => parseLabel(text)) };
}

export interface VerdictQuestion {
  readonly from: { readonly name: string; readonly identity: Identity };
  readonly to: { readonly name: string; readonly identity: Identity };
  /** TCP, host order. */
  readonly port: number;
}

/** What the policy in `text` says to each question, by the model alone: compiled as for the kernel, and read rule by rule. */
export function modelVerdicts(
  text: string,
  file: string,
  questions: readonly VerdictQuestion[],
): readonly ModelVerdict[] {
  const rules = readPolicy(text, { file });
  const repository = Repository.empty();
  repository.add(rules);
  const resolver = new PolicyResolver(OPTIONS);
  resolver.updateIdentities({ upserts: questions.flatMap(({ from, to }) => [from.identity, to.identity]) });
  resolver.setRules(repository.snapshot());
  return questions.map(({ from, to, port }) => {
    const flow = { direction: 'ingress', protocol: Protocol.tcp, port } as const;
    const { mapState, enforcement } = resolver.resolve(to.identity);
    const compiled = evaluateMapState(mapState, enforcement, { ...flow, identity: from.identity.id });
    const naive = evaluateNaive(rules, OPTIONS, { ...flow, subject: to.identity, peer: from.identity });
    const allowed = compiled.kind === 'allow';
    return { from: from.name, to: to.name, port, allowed, agreed: naive.kind === compiled.kind };
  });
}
