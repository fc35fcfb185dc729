import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { packageRoot } from '../../src/base/assets.ts';
import { run } from '../../src/base/run.ts';
import { HealthMesh, MESH_METRICS_PORT } from '../support/health-mesh.ts';
import { rootOrSkip } from '../support/privilege.ts';
import { eventually, type StartedProcess, startProcess } from '../support/process.ts';
import { tool } from '../support/tools.ts';

const DEPLOY = join(packageRoot(), 'deploy');
const RULES = join(DEPLOY, 'prometheus', 'ciliate-health.rules.yaml');
const BOARDS = ['ciliate-health-cluster', 'ciliate-health-node'] as const;
const PROMETHEUS = 'http://127.0.0.1:9090';

interface Panel {
  readonly title: string;
  readonly type: string;
  readonly targets?: readonly { readonly expr: string }[];
}

interface Board {
  readonly uid: string;
  readonly schemaVersion: number;
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly type: string }[] };
}

function board(name: string): Board {
  return JSON.parse(readFileSync(join(DEPLOY, 'grafana', `${name}.json`), 'utf8')) as Board;
}

/** Each query with its board and panel; variables as Grafana would put them in. */
function queries(): { readonly where: string; readonly expr: string }[] {
  return BOARDS.flatMap((name) =>
    board(name).panels.flatMap(({ title, targets = [] }) =>
      targets.map(({ expr }) => {
        const filled = expr
          .replaceAll('$__rate_interval', '10s')
          .replaceAll(/\$(?:job|instance|peer)/g, '.+');
        return { where: `${name}: ${title}`, expr: filled };
      }),
    ),
  );
}

function familiesOf(expr: string): readonly string[] {
  return expr.match(/\b(?:cili|process_|nodejs_)\w+/g) ?? [];
}

const promtool = tool('promtool');
const prometheus = tool('prometheus');

describe('the dashboards of the health agent', () => {
  it('are such as Grafana takes, with a data source to choose, and no variable that they do not define', () => {
    for (const name of BOARDS) {
      const { uid, schemaVersion, panels, templating } = board(name);
      assert.equal(uid, name);
      assert.ok(schemaVersion >= 36);
      assert.ok(
        templating.list.some(
          ({ type, name: variable }) => type === 'datasource' && variable === 'datasource',
        ),
      );
      const known = new Set(templating.list.map(({ name: variable }) => variable));
      for (const { title, type, targets = [] } of panels) {
        assert.ok(type === 'row' || targets.length > 0, title);
        for (const { expr } of targets) {
          for (const [, variable = ''] of expr.matchAll(/\$(\w+)/g)) {
            assert.ok(variable === '__rate_interval' || known.has(variable), `${title}: $${variable}`);
          }
        }
      }
    }
  });
});

describe('the alert rules of the health agent', { skip: promtool === undefined && 'needs promtool' }, () => {
  it('are rules, and say what their tests want', async () => {
    const checked = await run([promtool ?? '', 'check', 'rules', RULES], { timeoutMs: 30_000 });
    assert.equal(checked.exitCode, 0, checked.stdout + checked.stderr);
    const tests = RULES.replace('.yaml', '.test.yaml');
    const tested = await run([promtool ?? '', 'test', 'rules', tests], { timeoutMs: 30_000 });
    assert.equal(tested.exitCode, 0, tested.stdout + tested.stderr);
    const text = readFileSync(tests, 'utf8');
    for (const [, alert = ''] of readFileSync(RULES, 'utf8').matchAll(/- alert: (\w+)/g)) {
      assert.ok(text.includes(`alertname: ${alert}\n`), `${alert} has no test`);
    }
  });
});

const skip =
  prometheus === undefined || promtool === undefined ? 'needs prometheus and promtool' : rootOrSkip();

describe('a mesh of three nodes that a real Prometheus scrapes', { skip }, () => {
  let mesh: HealthMesh;
  let server: StartedProcess | undefined;

  /** Answers of Prometheus' API, asked from inside its namespace, many at once. */
  async function ask<T>(paths: readonly string[]): Promise<T[]> {
    const script = `Promise.all(${JSON.stringify(paths)}.map(async (path) =>
      (await (await fetch('${PROMETHEUS}' + path)).json()).data)).then((all) => console.log(JSON.stringify(all)))`;
    const { stdout, stderr, exitCode } = await mesh.lab.exec(mesh.hub, [process.execPath, '-e', script]);
    assert.equal(exitCode, 0, stderr);
    return JSON.parse(stdout) as T[];
  }

  interface Answer {
    readonly result: readonly { readonly metric: Readonly<Record<string, string>> }[];
  }

  const query = (expr: string): string => `/api/v1/query?query=${encodeURIComponent(expr)}`;

  before(async () => {
    mesh = await HealthMesh.start({ nodes: 3 });
    await mesh.measured();
    const folder = join(mesh.folder, 'prometheus');
    mkdirSync(folder);
    const targets = mesh.nodes.map(({ address }) => `${address}:${MESH_METRICS_PORT}`);
    const config = {
      global: { scrape_interval: '1s', evaluation_interval: '1s' },
      rule_files: [RULES],
      scrape_configs: [{ job_name: 'ciliate', static_configs: [{ targets }] }],
    };
    // JSON is YAML.
    writeFileSync(join(folder, 'prometheus.yml'), JSON.stringify(config));
    const words = [`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/db`];
    const argv = [prometheus ?? '', ...words, '--web.listen-address=127.0.0.1:9090'];
    server = await startProcess(['nsenter', `--net=${mesh.lab.path(mesh.hub)}`, '--', ...argv]);
  });
  after(async () => {
    await server?.stop();
    await mesh?.stop();
  });

  it('fires the alert of the node that is killed, by its name, and fills every panel of both dashboards', async () => {
    await eventually(
      'all targets are up',
      async () => {
        const [up] = await ask<Answer>([query('up == 1')]).catch(() => []);
        return up?.result.length === 3 ? true : undefined;
      },
      { timeoutMs: 40_000, everyMs: 500 },
    );
    const killed = mesh.node('n3');
    await mesh.lab.ip('-n', killed.netns, 'link', 'set', 'eth0', 'down');
    await killed.agent.stop('SIGKILL');
    const alert = await eventually(
      'the alert fires',
      async () => {
        const [alerts] = await ask<{ alerts: { labels: Record<string, string>; state: string }[] }>([
          '/api/v1/alerts',
        ]);
        return alerts?.alerts.find(
          ({ labels, state }) => labels.alertname === 'CiliateHealthNodeDown' && state === 'firing',
        );
      },
      { timeoutMs: 90_000, everyMs: 1000 },
    );
    assert.equal(alert.labels.peer, 'n3');

    const all = queries();
    const families = [...new Set(all.flatMap(({ expr }) => familiesOf(expr)))];
    const told = await ask<Answer>(families.map((name) => query(`count({__name__="${name}"})`)));
    const absent = families.filter((_, i) => told[i]?.result.length === 0);
    assert.deepEqual(absent, []);
    const answers = await ask<Answer>(all.map(({ expr }) => query(expr)));
    const empty = all.filter((_, i) => answers[i]?.result.length === 0);
    assert.deepEqual(
      empty.map(({ where, expr }) => `${where}: ${expr}`),
      [],
    );
  });
});
