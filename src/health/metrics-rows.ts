import type { Registry } from 'prom-client';
import type { ExchangeCounters } from './mesh/index.ts';
import { addFamily, addNumber } from './metrics-family.ts';

type Counters = () => Readonly<ExchangeCounters> | undefined;

interface Split {
  readonly name: string;
  readonly help: string;
  readonly read: (
    counters: Readonly<ExchangeCounters>,
  ) => readonly (readonly [labels: Readonly<Record<string, string>>, value: number])[];
}

const SPLITS: readonly Split[] = [
  {
    name: 'ciliate_health_row_messages_total',
    help: 'Messages to other nodes: pulls ask for rows, pushes tell of faults; by whether they were answered',
    read: ({ pulls, pullsFailed, pushes, pushesFailed }) => [
      [{ message: 'pull', result: 'answered' }, pulls],
      [{ message: 'pull', result: 'failed' }, pullsFailed],
      [{ message: 'push', result: 'answered' }, pushes],
      [{ message: 'push', result: 'failed' }, pushesFailed],
    ],
  },
  {
    name: 'ciliate_health_row_bytes_total',
    help: 'Bytes of messages of rows, ours and those of others, without what HTTP puts around them',
    read: ({ bytesSent, bytesReceived }) => [
      [{ direction: 'sent' }, bytesSent],
      [{ direction: 'received' }, bytesReceived],
    ],
  },
  {
    name: 'ciliate_health_rows_total',
    help: 'Rows of other nodes with news in them; refused: from a time to come, of our own node, or not readable',
    read: ({ rowsTaken, rowsRefused, malformed }) => [
      [{ result: 'taken' }, rowsTaken],
      [{ result: 'refused' }, rowsRefused + malformed],
    ],
  },
];

/** How this node exchanges rows with the others; no samples where nothing is exchanged. */
export function addRows(registry: Registry, counters: Counters): void {
  for (const { name, help, read } of SPLITS) {
    addFamily(registry, {
      name,
      help,
      type: 'counter',
      read: () => {
        const now = counters();
        return now === undefined ? [] : read(now).map(([labels, value]) => ({ labels, value }));
      },
    });
  }
  addNumber(registry, {
    name: 'ciliate_health_row_news_not_pushed_total',
    help: 'Rows of which news had no room in pushes: they come with the next pull',
    type: 'counter',
    read: () => counters()?.rowsNotPushed,
  });
}
