import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { run } from '../../src/base/run.ts';
import { AGENT_METRICS_PORT, ciliate, HEALTH_METRICS_PORT } from '../../src/lab/agent-process.ts';
import { scrape } from '../../src/lab/demo/observe.ts';
import { execIn, inNetns } from '../../src/lab/host.ts';
import { startStarWars } from '../../src/lab/star-wars.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { eventually, type StartedProcess, startProcess } from '../support/process.ts';
import { tool } from '../support/tools.ts';
import { startTestLab, type TestLab } from './lab-support.ts';

const promtool = tool('promtool');
const prometheus = tool('prometheus');
const skip =
  promtool === undefined || prometheus === undefined ? 'needs promtool and prometheus' : bpfOrSkip();

describe('the metrics', { skip }, () => {
  let testLab: TestLab;
  let server: StartedProcess | undefined;

  before(async () => {
    testLab = await startTestLab(2);
    await startStarWars(testLab.lab, () => undefined);
  });
  after(async () => {
    await server?.stop();
    await testLab?.tearDown();
  });

  for (const [name, port] of [
    ['agent', AGENT_METRICS_PORT],
    ['health agent', HEALTH_METRICS_PORT],
  ] as const) {
    it(`of the ${name} pass promtool check metrics`, async () => {
      const text = await scrape(testLab.lab.node('node1'), port);
      assert.match(text, /^# TYPE cilium_/m);
      const result = await run([promtool ?? '', 'check', 'metrics'], { timeoutMs: 30_000, input: text });
      assert.deepEqual([result.exitCode, result.stderr.trim()], [0, '']);
    });
  }

  it('are scraped by a real Prometheus', async () => {
    const node = testLab.lab.node('node1');
    const folder = join(testLab.lab.layout.dir, 'prometheus');
    mkdirSync(folder);
    const targets = testLab.lab.layout.nodes.flatMap(({ ipv4 }) => [
      `${ipv4}:${AGENT_METRICS_PORT}`,
      `${ipv4}:${HEALTH_METRICS_PORT}`,
    ]);
    const config = {
      global: { scrape_interval: '1s' },
      scrape_configs: [{ job_name: 'ciliate', static_configs: [{ targets }] }],
    };
    // JSON is YAML.
    writeFileSync(join(folder, 'prometheus.yml'), JSON.stringify(config));
    const words = [
      prometheus ?? '',
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      '--web.listen-address=127.0.0.1:9090',
    ];
    server = await startProcess(inNetns(node.netns, words));
    const query = async (expression: string): Promise<readonly { value: [number, string] }[]> => {
      const url = `http://127.0.0.1:9090/api/v1/query?query=${encodeURIComponent(expression)}`;
      const { stdout } = await execIn(node.netns, ciliate('lab', 'send', 'GET', url));
      const answer = JSON.parse(stdout || '{}') as { data?: { result?: { value: [number, string] }[] } };
      return answer.data?.result ?? [];
    };
    const up = await eventually(
      'every target is up',
      async () => {
        const result = await query('up == 1').catch(() => []);
        return result.length === targets.length ? result : undefined;
      },
      { timeoutMs: 40_000, everyMs: 500 },
    );
    assert.equal(up.length, 4);
    const [ready] = await query('sum(cilium_endpoint_state{endpoint_state="ready"})');
    assert.ok(Number(ready?.value[1]) >= 4, JSON.stringify(ready));
  });
});
