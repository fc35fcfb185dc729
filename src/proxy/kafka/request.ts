import { KafkaFormatError, KafkaReader } from './reader.ts';

/** A topic that a request names, with its partitions where the request names those. */
export interface KafkaTopic {
  readonly name: string;
  readonly partitions: readonly number[];
}

export interface KafkaRequest {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly correlationId: number;
  readonly clientId: string | undefined;
  /** Undefined: the request is of every topic, or its topics cannot be known. Empty: it has none. */
  readonly topics: readonly KafkaTopic[] | undefined;
  /** Whether the broker answers; it does not to `produce` with acks 0. */
  readonly answered: boolean;
}

interface Body {
  readonly topics: readonly KafkaTopic[] | undefined;
  readonly answered?: boolean;
}

/** How the body of one kind of request is read. */
interface Api {
  /** First version in the flexible form. */
  readonly flexibleFrom: number;
  /** Last version whose topics can be read: later ones name them by number, or are not known here. */
  readonly lastVersion: number;
  readonly read: (reader: KafkaReader, version: number) => Body;
}

function topic(reader: KafkaReader, partition: () => number): KafkaTopic {
  const name = reader.string();
  const partitions = reader.array(partition);
  reader.tags();
  return { name, partitions };
}

/** A structure of a partition: its number and what `rest` reads away. */
function partition(reader: KafkaReader, rest: () => void): () => number {
  return () => {
    const index = reader.int32();
    rest();
    reader.tags();
    return index;
  };
}

function produce(reader: KafkaReader, version: number): Body {
  if (version >= 3) reader.nullableString();
  const acks = reader.int16();
  reader.skip(4);
  const each = partition(reader, () => reader.skipBytes());
  return { topics: reader.array(() => topic(reader, each)), answered: acks !== 0 };
}

function fetch(reader: KafkaReader, version: number): Body {
  reader.skip(4 + 4 + 4 + (version >= 3 ? 4 : 0) + (version >= 4 ? 1 : 0) + (version >= 7 ? 8 : 0));
  const fixed = (version >= 9 ? 4 : 0) + 8 + (version >= 12 ? 4 : 0) + (version >= 5 ? 8 : 0) + 4;
  const each = partition(reader, () => reader.skip(fixed));
  return { topics: reader.array(() => topic(reader, each)) };
}

function listOffsets(reader: KafkaReader, version: number): Body {
  reader.skip(4 + (version >= 2 ? 1 : 0));
  const fixed = (version >= 4 ? 4 : 0) + 8 + (version === 0 ? 4 : 0);
  const each = partition(reader, () => reader.skip(fixed));
  return { topics: reader.array(() => topic(reader, each)) };
}

/** No list is every topic; in version 0 an empty one too. A topic named by number only is unknown. */
function metadata(reader: KafkaReader, version: number): Body {
  let unknown = false;
  const names = reader.nullableArray(() => {
    if (version >= 10) reader.skip(16);
    const name = version >= 10 ? reader.nullableString() : reader.string();
    reader.tags();
    unknown ||= name === undefined;
    return { name: name ?? '', partitions: [] };
  });
  const every = names === undefined || (version === 0 && names.length === 0) || unknown;
  return { topics: every ? undefined : names };
}

function offsetCommit(reader: KafkaReader, version: number): Body {
  reader.string();
  if (version >= 1) {
    reader.skip(4);
    reader.string();
  }
  if (version >= 7) reader.nullableString();
  if (version >= 2 && version <= 4) reader.skip(8);
  const each = partition(reader, () => {
    reader.skip(8 + (version >= 6 ? 4 : 0) + (version === 1 ? 8 : 0));
    reader.nullableString();
  });
  return { topics: reader.array(() => topic(reader, each)) };
}

function offsetFetch(reader: KafkaReader, version: number): Body {
  const indexes = (): KafkaTopic => topic(reader, () => reader.int32());
  if (version <= 7) {
    reader.string();
    return { topics: reader.nullableArray(indexes) };
  }
  let every = false;
  const groups = reader.array(() => {
    reader.string();
    if (version >= 9) {
      reader.nullableString();
      reader.skip(4);
    }
    const topics = reader.nullableArray(indexes);
    reader.tags();
    every ||= topics === undefined;
    return topics ?? [];
  });
  return { topics: every ? undefined : groups.flat() };
}

function createTopics(reader: KafkaReader): Body {
  return {
    topics: reader.array(() => {
      const name = reader.string();
      reader.skip(6);
      const assignment = partition(reader, () => reader.array(() => reader.int32()));
      reader.array(assignment);
      reader.array(() => {
        reader.string();
        reader.nullableString();
        reader.tags();
      });
      reader.tags();
      return { name, partitions: [] };
    }),
  };
}

function deleteTopics(reader: KafkaReader, version: number): Body {
  let unknown = false;
  const topics = reader.array(() => {
    const name = version >= 6 ? reader.nullableString() : reader.string();
    if (version >= 6) {
      reader.skip(16);
      reader.tags();
    }
    unknown ||= name === undefined;
    return { name: name ?? '', partitions: [] };
  });
  return { topics: unknown ? undefined : topics };
}

function deleteRecords(reader: KafkaReader): Body {
  const each = partition(reader, () => reader.skip(8));
  return { topics: reader.array(() => topic(reader, each)) };
}

function offsetForLeaderEpoch(reader: KafkaReader, version: number): Body {
  if (version >= 3) reader.skip(4);
  const each = partition(reader, () => reader.skip(version >= 2 ? 8 : 4));
  return { topics: reader.array(() => topic(reader, each)) };
}

function addPartitionsToTxn(reader: KafkaReader): Body {
  reader.string();
  reader.skip(10);
  return { topics: reader.array(() => topic(reader, () => reader.int32())) };
}

function txnOffsetCommit(reader: KafkaReader, version: number): Body {
  reader.string();
  reader.string();
  reader.skip(10);
  if (version >= 3) {
    reader.skip(4);
    reader.string();
    reader.nullableString();
  }
  const each = partition(reader, () => {
    reader.skip(8 + (version >= 2 ? 4 : 0));
    reader.nullableString();
  });
  return { topics: reader.array(() => topic(reader, each)) };
}

/** Requests that name topics, by API key. */
const TOPIC_APIS: ReadonlyMap<number, Api> = new Map([
  [0, { flexibleFrom: 9, lastVersion: 12, read: produce }],
  [1, { flexibleFrom: 12, lastVersion: 12, read: fetch }],
  [2, { flexibleFrom: 6, lastVersion: 10, read: listOffsets }],
  [3, { flexibleFrom: 9, lastVersion: 13, read: metadata }],
  [8, { flexibleFrom: 8, lastVersion: 9, read: offsetCommit }],
  [9, { flexibleFrom: 6, lastVersion: 9, read: offsetFetch }],
  [19, { flexibleFrom: 5, lastVersion: 7, read: createTopics }],
  [20, { flexibleFrom: 4, lastVersion: 6, read: deleteTopics }],
  [21, { flexibleFrom: 2, lastVersion: 2, read: deleteRecords }],
  [23, { flexibleFrom: 4, lastVersion: 4, read: offsetForLeaderEpoch }],
  [24, { flexibleFrom: 3, lastVersion: 3, read: addPartitionsToTxn }],
  [28, { flexibleFrom: 3, lastVersion: 5, read: txnOffsetCommit }],
]);

/**
 * Requests that name topics and are not read here: of brokers and administrators, and of groups, shares and streams since 3.7.
 * Cilium does not let those up to 37 pass by a rule with a topic either, and does not know the later ones.
 */
const UNREAD_TOPIC_APIS: ReadonlySet<number> = new Set([
  ...[4, 5, 6, 27, 34, 35, 37],
  ...[43, 45, 46, 47, 56, 61, 68, 73, 75, 76, 78, 79],
  ...[83, 84, 85, 86, 87, 88, 90, 91, 92],
]);

const CONTROLLED_SHUTDOWN = 7;
const PRODUCE = 0;

/** Whether answers to the request are in the flexible form; of APIs that name topics. */
export function isFlexible(apiKey: number, apiVersion: number): boolean {
  return apiVersion >= (TOPIC_APIS.get(apiKey)?.flexibleFrom ?? Number.POSITIVE_INFINITY);
}

/**
 * Reads a request, without its length (protocol guide, "Request header" 1 and 2, then the API's own message).
 * @throws KafkaFormatError when it is none
 */
export function readRequest(frame: Buffer): KafkaRequest {
  const reader = new KafkaReader(frame);
  const apiKey = reader.int16();
  const apiVersion = reader.int16();
  const correlationId = reader.int32();
  if (apiKey < 0 || apiVersion < 0) throw new KafkaFormatError('negative key or version');
  const headless = apiKey === CONTROLLED_SHUTDOWN && apiVersion === 0;
  const clientId = headless ? undefined : reader.classicNullableString();
  const common = { apiKey, apiVersion, correlationId, clientId };
  const api = TOPIC_APIS.get(apiKey);
  if (api === undefined)
    return { ...common, topics: UNREAD_TOPIC_APIS.has(apiKey) ? undefined : [], answered: true };
  if (apiVersion > api.lastVersion)
    return { ...common, topics: undefined, answered: answersUnread(frame, apiKey) };
  reader.flexible = apiVersion >= api.flexibleFrom;
  reader.tags();
  const { topics, answered = true } = api.read(reader, apiVersion);
  return { ...common, topics, answered };
}

/** A version of `produce` that cannot be read may be one without an answer: then the order of answers is unknown. */
function answersUnread(frame: Buffer, apiKey: number): boolean {
  if (apiKey !== PRODUCE) return true;
  const reader = new KafkaReader(frame);
  reader.skip(8);
  reader.classicNullableString();
  reader.flexible = true;
  reader.tags();
  reader.nullableString();
  return reader.int16() !== 0;
}
