/** What the exchange of rows did since its start; nothing in it falls. Bytes are those of messages, without HTTP's. */
export interface ExchangeCounters {
  /** Pulls that were answered, and those that were not. */
  pulls: number;
  pullsFailed: number;
  /** Messages of news that went out, and those that nobody took. */
  pushes: number;
  pushesFailed: number;
  /** Rows of which news had no room: they come by pull. */
  rowsNotPushed: number;
  /** Of what we asked and told, and of what others asked and told us. */
  bytesSent: number;
  bytesReceived: number;
  /** Rows in which something was news. */
  rowsTaken: number;
  /** Rows that were refused: of a time to come, or of our own node. */
  rowsRefused: number;
  /** Messages that were none of ours. */
  malformed: number;
}

export function noExchange(): ExchangeCounters {
  return {
    pulls: 0,
    pullsFailed: 0,
    pushes: 0,
    pushesFailed: 0,
    rowsNotPushed: 0,
    bytesSent: 0,
    bytesReceived: 0,
    rowsTaken: 0,
    rowsRefused: 0,
    malformed: 0,
  };
}
