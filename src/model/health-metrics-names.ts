/** Whose names the connectivity metrics of health have: Cilium's since 1.17, those of 1.12 to 1.16 (by peer), or both. */
export const HEALTH_METRICS_NAMES = ['1.17', '1.16', 'both'] as const;
export type HealthMetricsNames = (typeof HEALTH_METRICS_NAMES)[number];
