/** From one probe of an address to the next, ms: what the health agent takes, whoever starts it. */
export const HEALTH_INTERVAL_LEAST_MS = 100;
export const HEALTH_INTERVAL_MOST_MS = 24 * 3_600_000;
