/**
 * What the layouts read of the agent's answers: the same field names, everything optional, because a server of
 * another age leaves objects out, and a layout must print what is there.
 */
export type Opt<T> = T | null | undefined;

/** Which recorded layout to follow to the byte; undefined is ours, which follows the project's invariants. */
export type Compat = '2018' | '1.19' | undefined;

export interface ViewOptions {
  readonly compat?: Compat;
  /** Leave the header lines out. */
  readonly noHeaders?: boolean;
  /** Columns of the terminal; default: as many as every layout is made for. */
  readonly width?: number;
}

export interface StateView {
  readonly state?: Opt<string>;
  readonly msg?: Opt<string>;
}

export interface AddressView {
  readonly ipv4?: Opt<string>;
  readonly ipv6?: Opt<string>;
}

export interface IdentityView {
  readonly id?: Opt<number>;
  readonly labels?: Opt<readonly string[]>;
}

export interface EndpointView {
  readonly id?: Opt<number>;
  readonly status?: Opt<{
    readonly identity?: Opt<IdentityView>;
    readonly labels?: Opt<{ readonly 'security-relevant'?: Opt<readonly string[]> }>;
    readonly networking?: Opt<{ readonly addressing?: Opt<readonly Opt<AddressView>[]> }>;
    readonly policy?: Opt<{
      readonly realized?: Opt<{
        readonly 'policy-enabled'?: Opt<string>;
        readonly 'policy-revision'?: Opt<number>;
      }>;
      readonly spec?: Opt<{ readonly 'policy-revision'?: Opt<number> }>;
    }>;
    readonly state?: Opt<string>;
    /** The newest entry alone. */
    readonly log?: Opt<readonly Opt<EndpointLogView>[]>;
  }>;
}

export interface EndpointLogView {
  readonly timestamp?: Opt<string>;
  readonly code?: Opt<string>;
  readonly state?: Opt<string>;
  readonly message?: Opt<string>;
}

export interface EndpointHealthView {
  readonly overallHealth?: Opt<string>;
  readonly bpf?: Opt<string>;
  readonly policy?: Opt<string>;
  readonly connected?: Opt<boolean>;
}

export interface LabelsView {
  readonly status?: Opt<{
    readonly 'security-relevant'?: Opt<readonly string[]>;
    readonly disabled?: Opt<readonly string[]>;
    readonly derived?: Opt<readonly string[]>;
    readonly realized?: Opt<{ readonly user?: Opt<readonly string[]> }>;
  }>;
}

export interface PolicyView {
  readonly revision?: Opt<number>;
  readonly policy?: Opt<string>;
  /** Groups and services, as `Service/default/web`. */
  readonly objects?: Opt<readonly string[]>;
}

export interface IpView {
  readonly cidr?: Opt<string>;
  readonly identity?: Opt<number>;
  readonly hostIP?: Opt<string>;
  readonly encryptKey?: Opt<number>;
  readonly metadata?: Opt<{ readonly source?: Opt<string> }>;
}

export interface NodeAddressView {
  readonly enabled?: Opt<boolean>;
  readonly ip?: Opt<string>;
  readonly 'alloc-range'?: Opt<string>;
}

export interface NodeView {
  readonly name?: Opt<string>;
  readonly source?: Opt<string>;
  readonly 'primary-address'?: Opt<{
    readonly ipv4?: Opt<NodeAddressView>;
    readonly ipv6?: Opt<NodeAddressView>;
  }>;
}

export interface MapEntryView {
  readonly key?: Opt<string>;
  readonly value?: Opt<string>;
  readonly 'desired-action'?: Opt<string>;
  readonly 'last-error'?: Opt<string>;
}

export interface MapView {
  readonly path?: Opt<string>;
  readonly cache?: Opt<readonly MapEntryView[]>;
  /** Entries in the kernel, where the agent tells. */
  readonly entries?: Opt<number>;
}

export interface ControllerView {
  readonly name?: Opt<string>;
  readonly status?: Opt<{
    readonly 'last-success-timestamp'?: Opt<string>;
    readonly 'last-failure-timestamp'?: Opt<string>;
    readonly 'consecutive-failure-count'?: Opt<number>;
    readonly 'last-failure-msg'?: Opt<string>;
  }>;
}

export interface ConnectivityView {
  /** Nanoseconds. */
  readonly latency?: Opt<number>;
  readonly status?: Opt<string>;
  readonly lastProbed?: Opt<string>;
  /** Only this probe is silent: the address answers the other one. */
  readonly filtered?: boolean | undefined;
}

export interface PathView {
  readonly ip?: Opt<string>;
  readonly icmp?: Opt<ConnectivityView>;
  readonly http?: Opt<ConnectivityView>;
}

export interface PathsView {
  readonly 'primary-address'?: Opt<PathView>;
  readonly 'secondary-addresses'?: Opt<readonly PathView[]>;
}

export interface HealthNodeView {
  readonly name?: Opt<string>;
  readonly host?: Opt<PathsView>;
  readonly 'health-endpoint'?: Opt<PathsView>;
  readonly endpoint?: Opt<PathView>;
}

export interface HealthView {
  readonly timestamp?: Opt<string>;
  readonly probeInterval?: Opt<string>;
  readonly local?: Opt<{ readonly name?: Opt<string> }>;
  readonly nodes?: Opt<readonly HealthNodeView[]>;
  /** Our health agent's: by family how ICMP is sent, or `off: REASON`. */
  readonly 'icmp-modes'?: Opt<{ readonly ipv4?: Opt<string>; readonly ipv6?: Opt<string> }>;
  readonly 'nodes-stale'?: Opt<{ readonly since?: Opt<string>; readonly reason?: Opt<string> }>;
}

interface Toggle {
  readonly enabled?: Opt<boolean>;
}

export interface KubeProxyView {
  readonly mode?: Opt<string>;
  readonly deviceList?: Opt<readonly { readonly name?: Opt<string>; readonly ip?: Opt<readonly string[]> }[]>;
  readonly devices?: Opt<readonly string[]>;
  readonly directRoutingDevice?: Opt<string>;
  readonly features?: Opt<{
    readonly nodePort?: Opt<
      Toggle & {
        readonly mode?: Opt<string>;
        readonly algorithm?: Opt<string>;
        readonly acceleration?: Opt<string>;
        readonly portMin?: Opt<number>;
        readonly portMax?: Opt<number>;
        readonly lutSize?: Opt<number>;
      }
    >;
    readonly hostPort?: Opt<Toggle>;
    readonly externalIPs?: Opt<Toggle>;
    readonly socketLB?: Opt<Toggle>;
    readonly socketLBTracing?: Opt<Toggle>;
    readonly sessionAffinity?: Opt<Toggle>;
    readonly nat46X64?: Opt<Toggle>;
    readonly bpfSocketLBHostnsOnly?: Opt<boolean>;
    readonly annotations?: Opt<readonly string[]>;
  }>;
}

export interface RemoteClusterView {
  readonly name?: Opt<string>;
  readonly ready?: Opt<boolean>;
  readonly 'num-nodes'?: Opt<number>;
  readonly 'num-endpoints'?: Opt<number>;
  readonly 'num-identities'?: Opt<number>;
  readonly 'num-shared-services'?: Opt<number>;
  readonly 'num-service-exports'?: Opt<number>;
  readonly 'num-failures'?: Opt<number>;
  readonly 'last-failure'?: Opt<string>;
  readonly status?: Opt<string>;
  readonly config?: Opt<{
    readonly required?: Opt<boolean>;
    readonly retrieved?: Opt<boolean>;
    readonly 'cluster-id'?: Opt<number>;
    readonly kvstoremesh?: Opt<boolean>;
    readonly 'sync-canaries'?: Opt<boolean>;
    readonly 'service-exports-enabled'?: Opt<boolean>;
  }>;
  readonly synced?: Opt<{
    readonly nodes?: Opt<boolean>;
    readonly endpoints?: Opt<boolean>;
    readonly identities?: Opt<boolean>;
    readonly services?: Opt<boolean>;
    readonly 'service-exports'?: Opt<boolean>;
  }>;
}

interface BigTcpView extends Toggle {
  readonly maxGSO?: Opt<number>;
}

export interface StatusView {
  readonly cilium?: Opt<StateView>;
  readonly kvstore?: Opt<StateView>;
  readonly 'container-runtime'?: Opt<StateView>;
  readonly kubernetes?: Opt<StateView & { readonly 'k8s-api-versions'?: Opt<readonly string[]> }>;
  readonly 'kube-proxy-replacement'?: Opt<KubeProxyView>;
  readonly 'host-firewall'?: Opt<{ readonly mode?: Opt<string>; readonly devices?: Opt<readonly string[]> }>;
  readonly srv6?: Opt<Toggle & { readonly srv6EncapMode?: Opt<string> }>;
  readonly 'cni-chaining'?: Opt<{ readonly mode?: Opt<string> }>;
  readonly 'cni-file'?: Opt<StateView>;
  readonly stale?: Opt<Readonly<Record<string, string>>>;
  readonly nodeMonitor?: Opt<{
    readonly cpus?: Opt<number>;
    readonly npages?: Opt<number>;
    readonly pagesize?: Opt<number>;
    readonly lost?: Opt<number>;
    readonly unknown?: Opt<number>;
  }>;
  readonly cluster?: Opt<{
    readonly ciliumHealth?: Opt<StateView>;
    readonly self?: Opt<string>;
    readonly nodes?: Opt<readonly NodeView[]>;
  }>;
  readonly ipam?: Opt<{
    readonly allocations?: Opt<Readonly<Record<string, string>>>;
    readonly ipv4?: Opt<readonly string[]>;
    readonly ipv6?: Opt<readonly string[]>;
    readonly status?: Opt<string>;
  }>;
  readonly 'cluster-mesh'?: Opt<{ readonly clusters?: Opt<readonly RemoteClusterView[]> }>;
  readonly 'ipv4-big-tcp'?: Opt<BigTcpView>;
  readonly 'ipv6-big-tcp'?: Opt<BigTcpView>;
  readonly 'bandwidth-manager'?: Opt<
    Toggle & { readonly congestionControl?: Opt<string>; readonly devices?: Opt<readonly string[]> }
  >;
  readonly routing?: Opt<{
    readonly 'inter-host-routing-mode'?: Opt<string>;
    readonly 'intra-host-routing-mode'?: Opt<string>;
    readonly 'tunnel-protocol'?: Opt<string>;
  }>;
  readonly 'attach-mode'?: Opt<string>;
  readonly 'datapath-mode'?: Opt<string>;
  readonly masquerading?: Opt<
    Toggle & {
      readonly mode?: Opt<string>;
      readonly enabledProtocols?: Opt<{ readonly ipv4?: Opt<boolean>; readonly ipv6?: Opt<boolean> }>;
      readonly 'snat-exclusion-cidr-v4'?: Opt<string>;
      readonly 'snat-exclusion-cidr-v6'?: Opt<string>;
    }
  >;
  readonly 'clock-source'?: Opt<{ readonly mode?: Opt<string>; readonly hertz?: Opt<number> }>;
  readonly controllers?: Opt<readonly ControllerView[]>;
  readonly services?: Opt<{ readonly count?: Opt<number>; readonly failed?: Opt<readonly string[]> }>;
  readonly proxy?: Opt<{
    readonly ip?: Opt<string>;
    readonly 'port-range'?: Opt<string>;
    readonly 'total-redirects'?: Opt<number>;
    readonly 'envoy-deployment-mode'?: Opt<string>;
    /** Ours. */
    readonly state?: Opt<string>;
    readonly msg?: Opt<string>;
    readonly redirects?: Opt<
      readonly {
        readonly name?: Opt<string>;
        readonly proxy?: Opt<string>;
        readonly 'proxy-port'?: Opt<number>;
      }[]
    >;
  }>;
  readonly 'identity-range'?: Opt<{
    readonly 'min-identity'?: Opt<number>;
    readonly 'max-identity'?: Opt<number>;
  }>;
  readonly hubble?: Opt<
    StateView & {
      readonly observer?: Opt<{
        readonly 'max-flows'?: Opt<number>;
        readonly 'current-flows'?: Opt<number>;
        readonly 'seen-flows'?: Opt<number>;
        readonly uptime?: Opt<string>;
      }>;
    }
  >;
  readonly 'hubble-metrics'?: Opt<StateView>;
  readonly 'bpf-maps'?: Opt<{
    readonly 'dynamic-size-ratio'?: Opt<number>;
    readonly maps?: Opt<readonly { readonly name?: Opt<string>; readonly size?: Opt<number> }[]>;
  }>;
  readonly encryption?: Opt<{
    readonly mode?: Opt<string>;
    readonly msg?: Opt<string>;
    readonly wireguard?: Opt<{
      readonly 'node-encryption'?: Opt<string>;
      readonly interfaces?: Opt<
        readonly {
          readonly name?: Opt<string>;
          readonly 'public-key'?: Opt<string>;
          readonly 'listen-port'?: Opt<number>;
          readonly 'peer-count'?: Opt<number>;
        }[]
      >;
    }>;
  }>;
}

export interface SelectorView {
  readonly selector?: Opt<string>;
  readonly labels?: Opt<
    readonly Opt<{
      readonly source?: Opt<string>;
      readonly key?: Opt<string>;
      readonly value?: Opt<string>;
    }>[]
  >;
  readonly users?: Opt<number>;
  readonly identities?: Opt<readonly number[]>;
}

export interface FqdnLookupView {
  readonly 'endpoint-id'?: Opt<number>;
  readonly source?: Opt<string>;
  readonly fqdn?: Opt<string>;
  /** Seconds. */
  readonly ttl?: Opt<number>;
  readonly 'expiration-time'?: Opt<string>;
  readonly ips?: Opt<readonly string[]>;
}

export interface FqdnNamesView {
  readonly FQDNPolicySelectors?: Opt<
    readonly Opt<{ readonly selectorString?: Opt<string>; readonly regexString?: Opt<string> }>[]
  >;
}

export interface RuleStatusView {
  readonly id?: Opt<number>;
  readonly name?: Opt<string>;
  readonly endpoints?: Opt<readonly number[]>;
  readonly connections?: Opt<{
    readonly allowed?: Opt<number>;
    readonly denied?: Opt<number>;
    readonly redirected?: Opt<number>;
  }>;
  readonly requests?: Opt<{ readonly allowed?: Opt<number>; readonly denied?: Opt<number> }>;
}
