const WITH_TABLE = [
  ...['select', 'delete', 'insert', 'update', 'create-table', 'drop-table', 'alter-table', 'truncate-table'],
  // Of these the keyspace stands where the table would.
  ...['use', 'create-keyspace', 'alter-keyspace', 'drop-keyspace'],
];

const WITHOUT_TABLE = [
  ...['create-index', 'drop-index', 'create-materialized-view', 'drop-materialized-view'],
  ...['create-role', 'alter-role', 'drop-role', 'grant-role', 'revoke-role', 'list-roles'],
  ...['grant-permission', 'revoke-permission', 'list-permissions'],
  ...['create-user', 'alter-user', 'drop-user', 'list-users'],
  ...['create-function', 'drop-function', 'create-aggregate', 'drop-aggregate'],
  ...['create-type', 'alter-type', 'drop-type', 'create-trigger', 'drop-trigger'],
];

/** Names that `query_action` of a rule may have, with whether the action has a table that `query_table` can name. */
export const CASSANDRA_ACTIONS: ReadonlyMap<string, boolean> = new Map([
  ...WITH_TABLE.map((name) => [name, true] as const),
  ...WITHOUT_TABLE.map((name) => [name, false] as const),
]);
