import type { KafkaRule } from '../model/l7.ts';
import { type Decoder, type Field, quote, suggestion } from './decoder.ts';
import { KAFKA_FIELDS } from './fields.ts';

/** Names of requests by API key, from 0 on (Kafka protocol guide, "API keys"; those that Cilium knows). */
export const KAFKA_API_KEYS = [
  'produce',
  'fetch',
  'offsets',
  'metadata',
  'leaderandisr',
  'stopreplica',
  'updatemetadata',
  'controlledshutdown',
  'offsetcommit',
  'offsetfetch',
  'findcoordinator',
  'joingroup',
  'heartbeat',
  'leavegroup',
  'syncgroup',
  'describegroups',
  'listgroups',
  'saslhandshake',
  'apiversions',
  'createtopics',
  'deletetopics',
  'deleterecords',
  'initproducerid',
  'offsetforleaderepoch',
  'addpartitionstotxn',
  'addoffsetstotxn',
  'endtxn',
  'writetxnmarkers',
  'txnoffsetcommit',
  'describeacls',
  'createacls',
  'deleteacls',
  'describeconfigs',
  'alterconfigs',
] as const;

const ROLES = ['produce', 'consume'] as const;
const MAX_API_VERSION = 32767;
const MAX_TOPIC_LENGTH = 255;
const TOPIC = /^[-a-zA-Z0-9._]+$/;

/** Text of a field; undefined when it is absent or empty, which mean the same. */
function filledText(decoder: Decoder, field: Field | undefined): string | undefined {
  const text = field && decoder.text(field);
  return text === '' ? undefined : text;
}

function decodeWord<T extends string>(
  decoder: Decoder,
  field: Field | undefined,
  known: readonly T[],
  what: string,
): T | undefined {
  const text = filledText(decoder, field);
  if (field === undefined || text === undefined) return undefined;
  const word = known.find((item) => item === text.toLowerCase());
  if (word !== undefined) return word;
  return decoder.report(field, 'VALUE', `${quote(text)} is not ${what}`, suggestion(text, known));
}

function decodeApiVersion(decoder: Decoder, field: Field | undefined): number | undefined {
  const text = filledText(decoder, field);
  if (field === undefined || text === undefined) return undefined;
  if (/^\+?\d+$/.test(text) && Number(text) <= MAX_API_VERSION) return Number(text);
  const reason = `${quote(text)} is not a version: a whole number from 0 to ${MAX_API_VERSION}`;
  return decoder.report(field, 'VALUE', reason, 'write it in quotes: "0"');
}

function decodeTopic(decoder: Decoder, field: Field | undefined): string | undefined {
  const text = filledText(decoder, field);
  if (field === undefined || text === undefined) return undefined;
  if (text.length <= MAX_TOPIC_LENGTH && TOPIC.test(text)) return text;
  const hint = `letters, digits, ".", "_" and "-", at most ${MAX_TOPIC_LENGTH} characters`;
  return decoder.report(field, 'VALUE', `${quote(text)} is not the name of a topic`, hint);
}

/** Reads one entry of `rules.kafka`. */
export function decodeKafkaRule(decoder: Decoder, field: Field): KafkaRule | undefined {
  const fields = decoder.fields(field, KAFKA_FIELDS);
  if (fields === undefined) return undefined;
  const role = decodeWord(decoder, fields.get('role'), ROLES, 'a role of Kafka');
  const apiKey = decodeWord(decoder, fields.get('apiKey'), KAFKA_API_KEYS, 'a request of Kafka');
  const keyField = fields.get('apiKey');
  if (role !== undefined && apiKey !== undefined && keyField !== undefined) {
    const reason = 'role and apiKey cannot stand in one rule: a role is a set of keys';
    decoder.report(keyField, 'CONFLICT', reason, 'make two rules of it');
  }
  return {
    role,
    apiKey,
    apiVersion: decodeApiVersion(decoder, fields.get('apiVersion')),
    clientId: filledText(decoder, fields.get('clientID')),
    topic: decodeTopic(decoder, fields.get('topic')),
  };
}
