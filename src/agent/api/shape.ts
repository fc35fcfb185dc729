import type * as Api from '../../api/schema.ts';

/**
 * Real clients follow pointers without looking: an object that is missing here ends them with a crash. Each function
 * returns the answer with those objects filled in (empty where nothing is known); what is there stays as it is.
 */

/** `status --verbose` needs seven objects of the service features, `encrypt status` the encryption. */
export function shapeStatus(status: Api.StatusResponse): Api.StatusResponse {
  const replacement = status['kube-proxy-replacement'];
  return {
    ...status,
    encryption: status.encryption ?? { mode: 'Disabled' },
    controllers: withoutNulls(status.controllers),
    cluster: status.cluster ?? {},
    ...(status['cluster-mesh'] && {
      'cluster-mesh': { ...status['cluster-mesh'], clusters: withoutNulls(status['cluster-mesh'].clusters) },
    }),
    ...(replacement && {
      'kube-proxy-replacement': { ...replacement, features: shapeFeatures(replacement.features) },
    }),
  };
}

type Features = NonNullable<NonNullable<Api.StatusResponse['kube-proxy-replacement']>['features']>;

function shapeFeatures(features: Features | undefined): Features {
  const nat46 = features?.nat46X64 ?? {};
  return {
    ...features,
    nodePort: features?.nodePort ?? {},
    sessionAffinity: features?.sessionAffinity ?? {},
    hostPort: features?.hostPort ?? {},
    externalIPs: features?.externalIPs ?? {},
    socketLB: features?.socketLB ?? {},
    socketLBTracing: features?.socketLBTracing ?? {},
    nat46X64: nat46.enabled
      ? { ...nat46, service: nat46.service ?? {}, gateway: nat46.gateway ?? {} }
      : nat46,
  };
}

/** `config` reads the realized options, the event ring and the map of settings; `bpf ct list` the addressing. */
export function shapeConfig(config: Api.DaemonConfiguration): Api.DaemonConfiguration {
  const status = config.status;
  const realized = { ...status?.realized, options: status?.realized?.options ?? {} };
  return {
    ...config,
    spec: { ...config.spec, options: config.spec?.options ?? {} },
    status: {
      ...status,
      realized,
      immutable: status?.immutable ?? {},
      nodeMonitor: status?.nodeMonitor ?? {},
      addressing: status?.addressing ?? {},
      daemonConfigurationMap: status?.daemonConfigurationMap ?? {},
    },
  };
}

/** `policy wait` needs the status, `endpoint list` addresses without null and, for its columns, identity and labels. */
export function shapeEndpoint(endpoint: Api.Endpoint): Api.Endpoint {
  const status = endpoint.status;
  const realizedPolicy = status?.policy?.realized ?? {};
  return {
    ...endpoint,
    spec: endpoint.spec ?? {},
    status: {
      ...status,
      state: status?.state ?? 'invalid',
      'external-identifiers': status?.['external-identifiers'] ?? {},
      labels: { ...status?.labels, realized: status?.labels?.realized ?? {} },
      networking: { ...status?.networking, addressing: withoutNulls(status?.networking?.addressing) },
      policy: { ...status?.policy, spec: status?.policy?.spec ?? realizedPolicy, realized: realizedPolicy },
      realized: shapeEndpointConfigurationSpec(status?.realized),
      controllers: withoutNulls(status?.controllers),
      log: withoutNulls(status?.log),
      health: status?.health ?? {},
    },
  };
}

export function shapeEndpoints(endpoints: readonly Api.Endpoint[]): readonly Api.Endpoint[] {
  return withoutNulls(endpoints).map(shapeEndpoint);
}

/** `endpoint config` reads `realized.options`. */
export function shapeEndpointConfig(
  config: Api.EndpointConfigurationStatus,
): Api.EndpointConfigurationStatus {
  return {
    ...config,
    realized: shapeEndpointConfigurationSpec(config.realized),
    immutable: config.immutable ?? {},
  };
}

function shapeEndpointConfigurationSpec(
  spec: Api.EndpointConfigurationSpec | undefined,
): Api.EndpointConfigurationSpec {
  return {
    ...spec,
    options: spec?.options ?? {},
    'label-configuration': spec?.['label-configuration'] ?? {},
  };
}

/** `endpoint labels` reads the status. */
export function shapeLabels(labels: Api.LabelConfiguration): Api.LabelConfiguration {
  const status = labels.status;
  return { spec: labels.spec ?? {}, status: { ...status, realized: status?.realized ?? {} } };
}

/** `identity list --endpoints` reads the identity of every element. */
export function shapeIdentityEndpoints(
  list: readonly Api.IdentityEndpoints[],
): readonly Api.IdentityEndpoints[] {
  return withoutNulls(list).map((entry) => ({ ...entry, identity: entry.identity ?? {} }));
}

/** `ip get -l` reads the metadata. */
export function shapeIps(list: readonly Api.IPListEntry[]): readonly Api.IPListEntry[] {
  return withoutNulls(list).map((entry) => ({ ...entry, metadata: entry.metadata ?? {} }));
}

/** `service list` reads the flags, drops a row without scope, and its 2018 form needs the frontend's protocol. */
export function shapeServices(list: readonly Api.Service[]): readonly Api.Service[] {
  return withoutNulls(list).map(shapeService);
}

/** As one of `shapeServices`. */
export function shapeService({ spec, status }: Api.Service): Api.Service {
  return {
    spec: shapeServiceSpec(spec),
    status: { ...status, realized: shapeServiceSpec(status?.realized ?? spec) },
  };
}

function shapeServiceSpec(spec: Api.ServiceSpec | undefined): Api.ServiceSpec {
  const frontend = spec?.['frontend-address'];
  return {
    ...spec,
    flags: spec?.flags ?? {},
    'frontend-address': {
      ...frontend,
      scope: frontend?.scope ?? 'external',
      protocol: frontend?.protocol ?? 'any',
    },
    'backend-addresses': withoutNulls(spec?.['backend-addresses']),
  };
}

/** `debuginfo` reads the policy and the status, and every endpoint. */
export function shapeDebugInfo(info: Api.DebugInfo): Api.DebugInfo {
  return {
    ...info,
    policy: info.policy ?? {},
    'cilium-status': shapeStatus(info['cilium-status'] ?? {}),
    'endpoint-list': shapeEndpoints(info['endpoint-list'] ?? []),
    'service-list': shapeServices(info['service-list'] ?? []),
  };
}

function withoutNulls<T>(list: readonly T[] | null | undefined): readonly NonNullable<T>[] {
  return (list ?? []).filter((item): item is NonNullable<T> => item !== null && item !== undefined);
}
