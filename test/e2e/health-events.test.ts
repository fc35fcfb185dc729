import assert from 'node:assert/strict';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { after, before, describe, it } from 'node:test';
import type * as Api from '../../src/api/schema.ts';
import { run } from '../../src/base/run.ts';
import { healthClient } from '../../src/lab/agent-process.ts';
import { execIn } from '../../src/lab/host.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { waitFor } from '../../src/lab/processes.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { tool } from '../support/tools.ts';
import { startTestLab, type TestLab } from './lab-support.ts';

const NODES = ['node1', 'node2', 'node3'] as const;
const ZONE = 'eu-1a';
const DASHBOARD_PORT = 9964;
/** What a busy machine may take. */
const LIMIT_MS = 60_000;

interface Event {
  readonly event: string;
  readonly data: string;
}

interface PathChanges {
  readonly changes: readonly { readonly peer: string; readonly to: string }[];
}

/** A follower of a node's events, as an EventSource is one. */
class Follower {
  readonly events: Event[] = [];
  readonly fields = new Set<string>();
  answer: IncomingMessage | undefined;
  readonly #request: ClientRequest;
  #text = '';

  constructor(socketPath: string, headers: Readonly<Record<string, string>> = {}) {
    this.#request = request({ socketPath, path: '/v1beta/events', headers }, (answer) => {
      this.answer = answer;
      answer.setEncoding('utf8').on('data', (text: string) => this.#take(text));
      answer.on('error', () => undefined);
    });
    this.#request.on('error', () => undefined).end();
  }

  #take(text: string): void {
    const parts = `${this.#text}${text}`.split('\n\n');
    this.#text = parts.pop() ?? '';
    for (const part of parts) {
      const lines = part.split('\n').map((line) => /^(\w+): (.*)$/.exec(line) ?? []);
      for (const [, field = ''] of lines) this.fields.add(field);
      const value = (name: string): string => lines.find(([, field]) => field === name)?.[2] ?? '';
      this.events.push({ event: value('event'), data: value('data') });
    }
  }

  /** Waits for an event whose content is as wanted. */
  until<T>(name: string, isWanted: (content: T) => boolean): Promise<Event> {
    return waitFor({ what: `an event ${name}`, timeoutMs: LIMIT_MS }, async () =>
      this.events.find(
        ({ event, data }) => event === name && isWanted((name === 'rows' ? data : JSON.parse(data)) as T),
      ),
    );
  }

  close(): void {
    this.#request.destroy();
  }
}

describe('the events and the readiness of three agents with the real datapath', { skip: bpfOrSkip() }, () => {
  let testLab: TestLab;
  let lab: Lab;
  const followers: Follower[] = [];

  before(async () => {
    const words = ['--health-metrics-names=both', `--health-dashboard-address=:${DASHBOARD_PORT}`];
    testLab = await startTestLab(3, words, [`topology.kubernetes.io/zone=${ZONE}`]);
    lab = testLab.lab;
    await waitFor({ what: 'all three are ready', timeoutMs: LIMIT_MS }, async () => {
      const answers = await Promise.all(NODES.map((node) => isReady('node1', node)));
      return answers.every(Boolean) || undefined;
    });
  });
  after(async () => {
    for (const follower of followers) follower.close();
    await testLab?.tearDown();
  });

  const socketOf = (node: string): string => lab.node(node).paths.healthSocket;
  const isReady = async (at: string, node: string): Promise<boolean> => {
    const answer = await healthClient(lab.node(at))
      .ready(node)
      .catch(() => undefined);
    return answer?.ready === true;
  };
  /** @param more words after those of the socket and the quiet ones */
  const curl = (at: string, path: string, ...more: readonly string[]) =>
    run(['curl', '--silent', '--unix-socket', socketOf(at), ...more, `http://localhost/v1beta/${path}`], {
      timeoutMs: 10_000,
    });
  const setLink = async (node: string, state: 'up' | 'down'): Promise<void> => {
    const argv = ['ip', 'link', 'set', 'dev', node, state];
    const { exitCode, stderr } = await execIn(lab.layout.fabricNetns, argv);
    assert.equal(exitCode, 0, stderr);
  };
  const follow = (node: string, headers: Readonly<Record<string, string>> = {}): Follower => {
    const follower = new Follower(socketOf(node), headers);
    followers.push(follower);
    return follower;
  };
  const names = ({ verdicts }: Api.HealthDiagnosis, node: string): boolean =>
    (verdicts ?? []).some(({ place }) => place.node === node);

  it('have the zone and the names of metrics that the agent was given', async () => {
    const { nodes } = await healthClient(lab.node('node1')).matrix();
    assert.deepEqual(
      nodes.map(({ name, zone }) => [name, zone]),
      NODES.map((name) => [name, ZONE]),
    );
    const { stdout } = await curl('node1', 'metrics');
    assert.match(stdout, /^cilium_node_connectivity_status\{.*target_node_name="node2"/m);
    assert.match(stdout, /^cilium_node_health_connectivity_status\{/m);
    assert.match(stdout, /^ciliate_health_rows_total\{result="taken"\} [1-9]/m);
  });

  it('tell a follower all it needs to begin, then the death of a node, and what it missed when it comes again', async () => {
    const first = follow('node1');
    await first.until('hello', () => true);
    await first.until('diagnosis', () => true);
    assert.equal(first.answer?.headers['content-type'], 'text/event-stream');
    assert.deepEqual(
      first.events.slice(0, 2).map(({ event }) => event),
      ['hello', 'diagnosis'],
    );
    const begunMs = Date.now();
    await setLink('node3', 'down');
    try {
      await first.until<PathChanges>('path-change', ({ changes }) =>
        changes.some(({ peer, to }) => peer === 'node3' && to === 'unreachable'),
      );
      await first.until('rows', () => true);
      await first.until<Api.HealthDiagnosis>('diagnosis', (diagnosis) => names(diagnosis, 'node3'));
      first.close();
    } finally {
      await setLink('node3', 'up');
    }
    // It is ready as soon as nothing is known against it; its other paths are heard of a little later.
    await waitFor({ what: 'all is well again', timeoutMs: LIMIT_MS }, async () => {
      const { paths } = await healthClient(lab.node('node1')).pair('node3');
      const isWell = paths?.every(({ state }) => state === 'reachable') === true;
      return isWell && (await isReady('node1', 'node3')) ? true : undefined;
    });
    // Nothing has an id: a follower that comes again begins anew, whatever it says that it had last.
    assert.ok(!first.fields.has('id') && first.fields.has('retry'));
    const again = follow('node1', { 'last-event-id': '17' });
    const diagnosis = await again.until<Api.HealthDiagnosis>('diagnosis', () => true);
    assert.ok(!names(JSON.parse(diagnosis.data) as Api.HealthDiagnosis, 'node3'));
    assert.equal(again.events[0]?.event, 'hello');
    await again.until('rows', () => true);
    assert.ok(!again.events.some(({ event }) => event === 'path-change'));
    const { changes } = await healthClient(lab.node('node1')).history(new Date(begunMs).toISOString());
    const ofNode3 = (changes ?? []).filter(({ peer }) => peer === 'node3').map(({ to }) => to);
    assert.ok(ofNode3.includes('unreachable') && ofNode3.at(-1) === 'reachable', ofNode3.join(' '));
  });

  it('let curl gate a rollout: a node that is gone is not ready, the others are', async (t) => {
    if (tool('curl') === undefined) return t.skip('no curl');
    const code = ['--output', '/dev/null', '--write-out', '%{http_code}'];
    for (const path of ['ready', 'ready?node=node3'])
      await waitFor({ what: `${path} is 200 at the start`, timeoutMs: LIMIT_MS }, async () =>
        (await curl('node1', path, ...code)).stdout === '200' ? true : undefined,
      );
    assert.equal((await curl('node1', 'ready?node=node9', ...code)).stdout, '400');
    await setLink('node3', 'down');
    try {
      await waitFor({ what: 'node3 is not ready', timeoutMs: LIMIT_MS }, async () =>
        (await curl('node1', 'ready?node=node3', ...code)).stdout === '503' ? true : undefined,
      );
      const { exitCode, stdout } = await curl('node1', 'ready?node=node3', '--fail-with-body');
      assert.equal(exitCode, 22);
      const { node, ready, reasons } = JSON.parse(stdout) as Api.HealthReadiness;
      assert.deepEqual([node, ready], ['node3', false]);
      assert.match((reasons ?? []).join('\n'), /node3/);
      await waitFor({ what: 'node2 is ready beside it', timeoutMs: LIMIT_MS }, async () =>
        (await curl('node1', 'ready?node=node2', ...code)).stdout === '200' ? true : undefined,
      );
    } finally {
      await setLink('node3', 'up');
    }
    // As a rollout waits, from a machine that has no socket of the agent's: over the dashboard's address.
    const { ipv4 } = lab.node('node1');
    const url = `http://${ipv4}:${DASHBOARD_PORT}/v1beta/ready?node=node3`;
    const wait = ['--silent', '--fail', '--retry', '60', '--retry-delay', '1', '--retry-all-errors', url];
    const waited = await execIn(lab.node('node2').netns, ['curl', ...wait], 90_000);
    assert.equal(waited.exitCode, 0, waited.stderr);
    assert.equal((JSON.parse(waited.stdout) as Api.HealthReadiness).ready, true);
  });
});
