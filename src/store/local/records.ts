import type { DatabaseSync } from 'node:sqlite';
import {
  type Identity,
  MAX_ALLOCATED_IDENTITY,
  MIN_ALLOCATED_IDENTITY,
  type NumericIdentity,
} from '../../model/identity.ts';
import { compareLabels, type Label, labelSetText } from '../../model/labels.ts';
import type { ClusterNode } from '../../model/node.ts';
import { IdentityRangeFullError } from '../errors.ts';
import type { IpIdentity, StoreChange } from '../types.ts';
import { emptyView, ipKey, putIdentity, type StoreView } from '../view.ts';

/** Changes that stay in the log; a watcher that fell further behind compares whole views. */
const CHANGES_KEPT = 10_000;

function text(row: Record<string, unknown> | undefined, column: string): string | undefined {
  const value = row?.[column];
  return typeof value === 'string' ? value : undefined;
}

function number(row: Record<string, unknown> | undefined, column: string): number | undefined {
  const value = row?.[column];
  return typeof value === 'number' ? value : undefined;
}

type Fields = Readonly<Record<string, unknown>>;

function parseObject(row: Record<string, unknown>): Fields | undefined {
  try {
    const value: unknown = JSON.parse(text(row, 'body') ?? 'null');
    return typeof value === 'object' && value !== null ? (value as Fields) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Whether the fields by which this process files a record are there; what else it claims its readers judge. */
const IS_FILED: Readonly<Record<'nodes' | 'identities' | 'ips', (record: Fields) => boolean>> = {
  nodes: ({ name }) => typeof name === 'string',
  identities: ({ id, labels }) => typeof id === 'number' && Array.isArray(labels),
  ips: ({ cidr, node }) => typeof cidr === 'string' && typeof node === 'string',
};

type OnMalformed = (what: string) => void;

function bodies<T>(db: DatabaseSync, table: keyof typeof IS_FILED, onMalformed: OnMalformed): T[] {
  const rows = db.prepare(`SELECT body FROM ${table}`).all().map(parseObject);
  const good = rows.filter((record) => record !== undefined && IS_FILED[table](record));
  if (good.length < rows.length) onMalformed(`${rows.length - good.length} rows of ${table}`);
  return good as T[];
}

/** @param onMalformed told of rows that are left out since nothing can be made of them: this program writes none */
export function readView(db: DatabaseSync, onMalformed: OnMalformed): StoreView {
  const view = emptyView();
  for (const node of bodies<ClusterNode>(db, 'nodes', onMalformed)) view.nodes.set(node.name, node);
  for (const identity of bodies<Identity>(db, 'identities', onMalformed)) putIdentity(view, identity);
  for (const ip of bodies<IpIdentity>(db, 'ips', onMalformed)) view.ips.set(ipKey(ip.cidr, ip.node), ip);
  return view;
}

function isChange(change: Fields | undefined): boolean {
  const filed = (table: keyof typeof IS_FILED, record: unknown): boolean =>
    typeof record === 'object' && record !== null && IS_FILED[table](record as Fields);
  switch (change?.kind) {
    case 'node-upsert':
      return filed('nodes', change.node);
    case 'identity-upsert':
      return filed('identities', change.identity);
    case 'ip-upsert':
      return filed('ips', change.ip);
    case 'node-delete':
      return typeof change.name === 'string';
    case 'identity-delete':
      return typeof change.id === 'number';
    case 'ip-delete':
      return filed('ips', change);
    default:
      return false;
  }
}

/** Number of the newest change; 0 before the first. */
export function lastChange(db: DatabaseSync): number {
  return number(db.prepare('SELECT max(seq) AS seq FROM changes').get(), 'seq') ?? 0;
}

/** Changes after `seq`, or undefined when the log no longer reaches back that far or holds what is no change. */
export function changesAfter(
  db: DatabaseSync,
  seq: number,
): { changes: StoreChange[]; last: number } | undefined {
  const oldest = number(db.prepare('SELECT min(seq) AS seq FROM changes').get(), 'seq');
  if (oldest === undefined) return seq === 0 ? { changes: [], last: 0 } : undefined;
  if (oldest > seq + 1 || lastChange(db) < seq) return undefined;
  const rows = db.prepare('SELECT seq, body FROM changes WHERE seq > ? ORDER BY seq').all(seq);
  const parsed = rows.map(parseObject);
  if (!parsed.every(isChange)) return undefined;
  const changes = parsed as unknown as StoreChange[];
  return { changes, last: number(rows.at(-1), 'seq') ?? seq };
}

function logChange(db: DatabaseSync, change: StoreChange): void {
  const { lastInsertRowid } = db.prepare('INSERT INTO changes (body) VALUES (?)').run(JSON.stringify(change));
  db.prepare('DELETE FROM changes WHERE seq <= ?').run(Number(lastInsertRowid) - CHANGES_KEPT);
}

function upsertNode(db: DatabaseSync, node: ClusterNode): boolean {
  const body = JSON.stringify(node);
  if (text(db.prepare('SELECT body FROM nodes WHERE name = ?').get(node.name), 'body') === body) return false;
  db.prepare('INSERT OR REPLACE INTO nodes (name, body) VALUES (?, ?)').run(node.name, body);
  return true;
}

function upsertIp(db: DatabaseSync, ip: IpIdentity): boolean {
  const body = JSON.stringify(ip);
  const before = db.prepare('SELECT body FROM ips WHERE cidr = ? AND node = ?').get(ip.cidr, ip.node);
  if (text(before, 'body') === body) return false;
  db.prepare('INSERT OR REPLACE INTO ips (cidr, node, body) VALUES (?, ?, ?)').run(ip.cidr, ip.node, body);
  return true;
}

function upsertIdentity(db: DatabaseSync, identity: Identity): boolean {
  const row = db
    .prepare('INSERT OR IGNORE INTO identities (id, label_key, body) VALUES (?, ?, ?)')
    .run(identity.id, labelSetText(identity.labels), JSON.stringify(identity));
  return Number(row.changes) > 0;
}

function applyToTables(db: DatabaseSync, change: StoreChange): boolean {
  const removed = (sql: string, ...keys: (string | number)[]): boolean =>
    Number(db.prepare(sql).run(...keys).changes) > 0;
  switch (change.kind) {
    case 'node-upsert':
      return upsertNode(db, change.node);
    case 'node-delete':
      return removed('DELETE FROM nodes WHERE name = ?', change.name);
    case 'identity-upsert':
      return upsertIdentity(db, change.identity);
    case 'identity-delete':
      return removed('DELETE FROM identities WHERE id = ?', change.id);
    case 'ip-upsert':
      return upsertIp(db, change.ip);
    case 'ip-delete':
      return removed('DELETE FROM ips WHERE cidr = ? AND node = ?', change.cidr, change.node);
  }
}

/** Writes changes and logs those that change anything. Inside a write transaction. */
export function writeChanges(db: DatabaseSync, changes: readonly StoreChange[]): void {
  for (const change of changes) if (applyToTables(db, change)) logChange(db, change);
}

/** Makes `ips` the whole set of `node`. Inside a write transaction. */
export function writeNodeIps(db: DatabaseSync, node: string, ips: readonly IpIdentity[]): void {
  const wanted = new Set(ips.map((ip) => ip.cidr));
  const held = db.prepare('SELECT cidr FROM ips WHERE node = ?').all(node);
  const deletes = held
    .map((row) => text(row, 'cidr') ?? '')
    .filter((cidr) => !wanted.has(cidr))
    .map((cidr): StoreChange => ({ kind: 'ip-delete', cidr, node }));
  writeChanges(db, [...deletes, ...ips.map((ip): StoreChange => ({ kind: 'ip-upsert', ip }))]);
}

export function findIdentity(db: DatabaseSync, labelKey: string): Identity | undefined {
  const body = text(db.prepare('SELECT body FROM identities WHERE label_key = ?').get(labelKey), 'body');
  return body === undefined ? undefined : (JSON.parse(body) as Identity);
}

/**
 * A free number, the first at or after a random start: two clusters that merge then seldom collide, and a number that
 * was freed is not handed out again at once, when caches may still hold it.
 */
function freeIdentity(db: DatabaseSync, random: () => number): NumericIdentity {
  const range = MAX_ALLOCATED_IDENTITY - MIN_ALLOCATED_IDENTITY + 1;
  const start = MIN_ALLOCATED_IDENTITY + Math.floor(random() * range);
  const firstFree = db.prepare(
    `SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM identities WHERE id = :start) THEN :start ELSE
       (SELECT min(i.id) + 1 FROM identities i WHERE i.id >= :start AND i.id < :last
          AND NOT EXISTS (SELECT 1 FROM identities n WHERE n.id = i.id + 1)) END AS id`,
  );
  const search = (from: number): number | undefined =>
    number(firstFree.get({ start: from, last: MAX_ALLOCATED_IDENTITY }), 'id');
  const id = search(start) ?? search(MIN_ALLOCATED_IDENTITY);
  if (id !== undefined) return id;
  throw new IdentityRangeFullError(
    `all ${range} identities from ${MIN_ALLOCATED_IDENTITY} to ${MAX_ALLOCATED_IDENTITY} are taken`,
  );
}

/** The identity of a label set, made if it is new. Inside a write transaction. */
export function writeIdentity(db: DatabaseSync, labels: readonly Label[], random: () => number): Identity {
  const found = findIdentity(db, labelSetText(labels));
  if (found !== undefined) return found;
  const identity: Identity = { id: freeIdentity(db, random), labels: [...labels].sort(compareLabels) };
  writeChanges(db, [{ kind: 'identity-upsert', identity }]);
  return identity;
}
