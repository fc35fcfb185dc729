import Type from 'typebox';
import { int, list, type ModelOf, model, opt, str } from './build.ts';
import { Labels } from './common.ts';

export const Identity = model('Identity', {
  id: opt(int),
  labels: opt(Labels),
  labelsSHA256: opt(str),
});
export type Identity = ModelOf<typeof Identity>;
export const Identities = Type.Array(Identity);

export const IdentityEndpoints = model('IdentityEndpoints', {
  identity: opt(Identity),
  refCount: opt(int),
});
export type IdentityEndpoints = ModelOf<typeof IdentityEndpoints>;

export const LabelConfigurationSpec = model('LabelConfigurationSpec', { user: opt(Labels) });
export type LabelConfigurationSpec = ModelOf<typeof LabelConfigurationSpec>;

export const LabelConfigurationStatus = model('LabelConfigurationStatus', {
  realized: opt(LabelConfigurationSpec),
  'security-relevant': opt(Labels),
  derived: opt(Labels),
  disabled: opt(Labels),
});
export type LabelConfigurationStatus = ModelOf<typeof LabelConfigurationStatus>;

export const LabelConfiguration = model('LabelConfiguration', {
  spec: opt(LabelConfigurationSpec),
  status: opt(LabelConfigurationStatus),
});
export type LabelConfiguration = ModelOf<typeof LabelConfiguration>;

export const Label = model('Label', { key: opt(str), value: opt(str), source: opt(str) });
export type Label = ModelOf<typeof Label>;

export const SelectorIdentityMapping = model('SelectorIdentityMapping', {
  selector: opt(str),
  labels: opt(list(Label)),
  identities: opt(list(int)),
  users: opt(int),
});
export type SelectorIdentityMapping = ModelOf<typeof SelectorIdentityMapping>;
export const SelectorCache = list(SelectorIdentityMapping, { title: 'SelectorCache' });
export type SelectorCache = ModelOf<typeof SelectorCache>;
