import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { asNobody, rootOrSkip } from '../support/privilege.ts';
import { answerJson, cli, FakeNode, recordedHandler } from './cli.ts';

const node = new FakeNode();
after(() => node.close());
before(() => node.serve('ciliate.sock', recordedHandler('agent-responses.json')));

const state = (): string[] => ['--state-dir', node.stateDir];

describe('usage errors', () => {
  it('an unknown flag exits 2 and suggests the nearest', async () => {
    const outcome = await cli(['endpoint', 'list', '--hots', 'x']);
    const stderr = 'Error: unknown flag --hots\nHint: did you mean --host?\n';
    assert.deepEqual(outcome, { stdout: '', stderr, code: 2 });
  });

  it('a flag of a topic alone exits 2, and suggests what starts the health agent', async () => {
    const { code, stdout, stderr } = await cli(['health', '--node', 'f']);
    const text =
      'Error: `ciliate health` takes no flag --node without a command after it\nHint: did you mean --nodes?\n';
    assert.deepEqual({ code, stdout, stderr }, { code: 2, stdout: '', stderr: text });
    const other = await cli(['policy', '--all']);
    assert.deepEqual([other.code, other.stdout], [2, '']);
    assert.match(other.stderr, /see `ciliate policy --help`/);
  });

  it('several unknown flags are named at once, each with the nearest', async () => {
    const outcome = await cli(['agent', '--ipv4-rang', 'x', '--deviced', 'y', '--zzzzzzzz']);
    const stderr =
      'Error: unknown flags --ipv4-rang, --deviced, --zzzzzzzz\nHint: did you mean --ipv4-range, --devices?\n';
    assert.deepEqual(outcome, { stdout: '', stderr, code: 2 });
  });

  it('a misspelt variable of the agent is told', async () => {
    const outcome = await cli(['agent', '--datapath', 'none', '--state-dir', '/proc/none'], {
      env: { CILIATE_IPV4_RANG: '10.1.0.0/24' },
    });
    assert.match(
      outcome.stdout + outcome.stderr,
      /CILIATE_IPV4_RANG sets nothing, did you mean CILIATE_IPV4_RANGE\?/,
    );
  });

  it('an unknown command exits 2 and suggests the nearest', async () => {
    const stderr = 'Error: unknown command "endpoint lsit"\nHint: did you mean `ciliate endpoint list`?\n';
    assert.deepEqual(await cli(['endpoint', 'lsit']), { stdout: '', stderr, code: 2 });
    assert.match((await cli(['stauts'])).stderr, /did you mean `ciliate status`/);
  });

  for (const [argv, told] of [
    [['ping', '--count', 'x', '127.0.0.1'], '--count: "x" is not a whole number'],
    [['monitor', '--from', 'x'], '--from: "x" is not the id of an endpoint'],
    [['health', 'history', '--since', 'x'], '--since: "x"'],
  ] as const)
    it(`a wrong value of ${argv.join(' ')} exits 2 and names the flag`, async () => {
      const { code, stdout, stderr } = await cli([...argv]);
      assert.deepEqual([code, stdout], [2, '']);
      assert.ok(stderr.startsWith(`Error: ${told}`), stderr);
    });

  it('a missing argument exits 2 and names it', async () => {
    const { stdout, stderr, code } = await cli(['endpoint', 'log']);
    assert.equal(code, 2);
    assert.equal(stdout, '');
    assert.equal(stderr, 'Error: missing ID\nHint: add --help to see what the command takes\n');
    assert.match((await cli(['completion'])).stderr, /^Error: missing SHELL \(bash, zsh, fish\)\n/);
    assert.match((await cli(['proxy'])).stderr, /^Error: missing --listener\n/);
  });

  it('a wrong value of a flag exits 2 and says what is right', async () => {
    const wrong = await cli(['endpoint', 'list', '-o', 'xml', ...state()]);
    assert.deepEqual(wrong, {
      stdout: '',
      stderr:
        'Error: -o "xml" is not an output format\nHint: one of json, yaml, jsonpath=\'{.field}\', text\n',
      code: 2,
    });
    assert.equal((await cli(['policy', 'get', '-H', 'ftp://x'])).code, 2);
    assert.equal((await cli(['policy', 'get', '-o', 'jsonpath={.a', ...state()])).code, 2);
    assert.equal((await cli(['policy', 'wait', 'soon', ...state()])).code, 2);
    assert.match((await cli(['bpf', 'ct', 'list', '-o', 'yaml'])).stderr, /bpf ct list has no -o yaml/);
  });

  it('with -o json the error is one JSON object on stderr', async () => {
    const { stdout, stderr, code } = await cli(['endpoint', 'list', '-o', 'json', '--hots', 'x']);
    assert.equal(code, 2);
    assert.equal(stdout, '');
    assert.deepEqual(JSON.parse(stderr), {
      error: { code: 'USAGE', message: 'unknown flag --hots', hint: 'did you mean --host?', exitCode: 2 },
    });
  });
});

describe('an agent without privilege', { skip: rootOrSkip() }, () => {
  const CASES = [
    ['another user', asNobody, /needs CAP_BPF, CAP_NET_ADMIN$/m],
    [
      'root of another user namespace',
      (argv) => ['unshare', '-Ur', ...argv],
      /needs the machine's first user/,
    ],
  ] as const satisfies readonly (readonly [string, (argv: readonly string[]) => readonly string[], RegExp])[];
  for (const [who, as, expected] of CASES) {
    it(`ends with 3, names what ${who} lacks, and leaves nothing behind`, async (t) => {
      const folder = mkdtempSync(join(tmpdir(), 'ciliate-refused-'));
      t.after(() => rmSync(folder, { recursive: true }));
      chmodSync(folder, 0o777);
      const folders = ['--state-dir', join(folder, 'state'), '--bpf-dir', join(folder, 'bpf')];
      const { stderr, code } = await cli(['agent', ...folders, '--ipv4-node', '192.0.2.1'], { as });
      if (stderr.startsWith('unshare: unshare failed: Operation not permitted')) {
        t.skip('user namespaces are not permitted here');
        return;
      }
      assert.equal(code, 3, stderr);
      assert.match(stderr, expected);
      assert.deepEqual(readdirSync(folder), []);
    });
  }
});

describe('an agent that is not well', () => {
  it('no socket: exit 4, with a remedy', async () => {
    const { stdout, stderr, code } = await cli(['status', '--state-dir', '/nonexistent']);
    assert.equal(code, 4);
    assert.equal(stdout, '');
    assert.match(stderr, /^Error: cannot reach the agent at unix:\/\/\/nonexistent\/ciliate\.sock: .*ENOENT/);
    assert.match(stderr, /^Hint: is the agent running\?/m);
  });

  it('a socket that may not be opened: exit 3, with a remedy', async () => {
    const path = join(node.stateDir, 'ciliate.sock');
    chmodSync(node.stateDir, 0o755);
    chmodSync(path, 0o000);
    // Root may open every socket: be nobody then.
    const nobody = process.getuid?.() === 0 ? { as: asNobody, cwd: '/' } : {};
    const { stdout, stderr, code } = await cli(['status', ...state()], nobody);
    chmodSync(path, 0o700);
    assert.equal(code, 3, stderr);
    assert.equal(stdout, '');
    assert.match(stderr, /^Error: not permitted to use the agent at .*EACCES/);
    assert.match(stderr, /^Hint: run as root, or as a member of the group/m);
  });

  it('an object that is not there: exit 1', async () => {
    const { stderr, code } = await cli(['endpoint', 'get', '404', ...state()]);
    assert.equal(code, 1);
    assert.match(stderr, /GET \/v1\/endpoint\/404 answered 404/);
  });

  const lies: Readonly<Record<string, string>> = {
    'no JSON': '<html>',
    'half an object': '{"cilium": {"state": "Ok"',
    'an empty answer': '',
    null: 'null',
    'a list for an object': '[]',
    'text for a list': '{"controllers": "none", "cilium": 7}',
  };
  for (const [what, body] of Object.entries(lies)) {
    it(`${what}: exit 4, never a stack`, async () => {
      const liar = new FakeNode();
      try {
        await liar.serve('ciliate.sock', (_seen, response) => answerJson(response, 200, body));
        const { stderr, code } = await cli(['status', '--state-dir', liar.stateDir]);
        assert.doesNotMatch(stderr, /^ {4}at /m);
        assert.equal(code, 4, stderr);
      } finally {
        await liar.close();
      }
    });
  }

  it('a server that says 500: exit 4 with its words', async () => {
    const failing = new FakeNode();
    try {
      await failing.serve('ciliate.sock', (_seen, response) =>
        answerJson(response, 500, 'the store is away'),
      );
      const { stderr, code } = await cli(['policy', 'get', '--state-dir', failing.stateDir]);
      assert.equal(code, 4);
      assert.match(stderr, /^Error: the store is away/);
    } finally {
      await failing.close();
    }
  });
});

describe('a file or folder that cannot be used', () => {
  const nobody = (folder: string) => {
    chmodSync(folder, 0o755);
    return process.getuid?.() === 0 ? { as: asNobody, cwd: '/' } : {};
  };
  const CASES = {
    'a policy file': ['policy', 'validate', '@'],
    'the maps': ['bpf', 'map', 'list', '--bpf-dir', '@'],
    'a place for the archive': ['bugtool', '-o', '@/x.tgz', '--state-dir', '/nonexistent'],
    'a state folder': ['cleanup', '--force', '--state-dir', '@'],
  } as const;
  for (const [what, words] of Object.entries(CASES)) {
    it(`exits 3 for ${what} that may not be used`, async () => {
      const folder = join(node.stateDir, 'closed');
      mkdirSync(folder, { mode: 0o700 });
      try {
        const how = nobody(node.stateDir);
        chmodSync(folder, 0o000);
        const { stdout, stderr, code } = await cli(
          words.map((word) => word.replace('@', folder)),
          how,
        );
        assert.equal(code, 3, stderr);
        assert.equal(stdout, '');
        assert.match(stderr, /^Error: .*closed/);
        assert.doesNotMatch(stderr, /\.partial/);
      } finally {
        chmodSync(folder, 0o700);
        rmSync(folder, { recursive: true });
      }
    });
  }

  it('says once what is missing, and what to name', async () => {
    const { stderr, code } = await cli(['health', '--nodes', '/nonexistent/nodes.yaml']);
    assert.equal(code, 2);
    assert.equal(stderr.match(/ENOENT/g)?.length, 1, stderr);
    const maps = await cli(['bpf', 'map', 'list', '--bpf-dir', '/nonexistent']);
    assert.equal(maps.code, 4);
    assert.match(
      maps.stderr,
      /^Error: no maps of a datapath are pinned in \/nonexistent\/maps\nHint: is the/,
    );
  });

  it('tells a file that is no text in one line', async () => {
    const file = join(node.stateDir, 'binary.yaml');
    writeFileSync(file, Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0, 1, 0x20, 0x0a, 0x3a, 0x3a, 0x7b]));
    const { stdout, code } = await cli(['policy', 'validate', file]);
    assert.equal(code, 1);
    assert.match(
      stdout,
      /^[^\n]*:1:5: the text holds the control character 0x00, [^\n]*\n[^\n]*: invalid, 1 error\n$/,
    );
  });
});

describe('a full disk behind standard output', () => {
  for (const words of [['--help'], ['endpoint', 'list', ...state()], ['policy', 'validate', '/dev/null']]) {
    it(`ends ${words.slice(0, 2).join(' ')} with 4 and the reason, not with a stack`, async () => {
      const { stderr, code } = await cli(words, {
        as: (argv) => ['sh', '-c', 'exec "$@" >/dev/full', 'sh', ...argv],
      });
      assert.equal(code, 4, stderr);
      assert.match(stderr, /^Error: cannot write to standard output: ENOSPC[^\n]*\nHint: [^\n]*\n$/);
    });
  }
});

describe('a reader that has enough', () => {
  it('ends quietly when its pipe is closed', async () => {
    const big = new FakeNode();
    try {
      const endpoints = Array.from({ length: 20_000 }, (_, id) => ({ id, status: { state: 'ready' } }));
      const body = JSON.stringify(endpoints);
      await big.serve('ciliate.sock', (_seen, response) => answerJson(response, 200, body));
      const { stderr, code } = await cli(['endpoint', 'list', '--state-dir', big.stateDir], {
        closeAfterBytes: 1000,
      });
      assert.equal(stderr, '');
      assert.equal(code, 0);
    } finally {
      await big.close();
    }
  });
});

describe('monitor', () => {
  const events = [
    { kind: 'agent', subtype: 'Policy updated', message: { revision: 2 } },
    { kind: 'lost', source: 'ring', count: 3 },
  ];

  async function withEvents<T>(
    lines: string,
    hold: boolean,
    use: (folder: string) => Promise<T>,
  ): Promise<T> {
    const folder = new FakeNode();
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.write(lines);
      if (!hold) socket.end();
    });
    await new Promise<void>((done) => server.listen(join(folder.stateDir, 'events.sock'), done));
    try {
      return await use(folder.stateDir);
    } finally {
      server.close();
      await folder.close();
    }
  }
  const ndjson = events.map((event) => `${JSON.stringify(event)}\n`).join('');

  it('prints events until the agent closes', async () => {
    const outcome = await withEvents(ndjson, false, (folder) => cli(['monitor', '--state-dir', folder]));
    assert.deepEqual(outcome, {
      stdout: '>> Policy updated: {"revision":2}\nLost 3 events: the ring buffer was full\n',
      stderr: 'Press Ctrl-C to quit\n',
      code: 0,
    });
  });

  it('prints NDJSON with -o json, nothing else on stdout', async () => {
    const { stdout, stderr, code } = await withEvents(ndjson, false, (folder) =>
      cli(['monitor', '-o', 'json', '--state-dir', folder]),
    );
    assert.equal(code, 0);
    assert.equal(stderr, '');
    assert.deepEqual(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { type: string }).type),
      ['agent', 'lost'],
    );
  });

  it('ends at Ctrl-C with exit 0', async () => {
    const { stdout, code } = await withEvents(ndjson, true, (folder) =>
      cli(['monitor', '--state-dir', folder], { interruptAt: 'Lost 3 events' }),
    );
    assert.equal(code, 0);
    assert.match(stdout, /Lost 3 events/);
  });

  for (const line of ['{"kind":', '7', '{"kind":"toString"}', '{"kind":"drop","reason":133}']) {
    it(`a line that is no event (${line}): exit 4, never a stack`, async () => {
      const { stderr, code } = await withEvents(`${line}\n`, false, (folder) =>
        cli(['monitor', '-v', '--hex', '--state-dir', folder]),
      );
      assert.equal(code, 4);
      assert.match(stderr, /^Error: .*events\.sock sent a line that is no event: \{?\S/m);
      assert.doesNotMatch(stderr, /^ {4}at /m);
    });
  }

  it('no agent: exit 4; a wrong type: exit 2', async () => {
    const dead = await cli(['monitor', '--state-dir', '/nonexistent']);
    assert.equal(dead.code, 4);
    assert.doesNotMatch(dead.stderr, /Ctrl-C/);
    assert.equal((await cli(['monitor', '-t', 'dorp'])).code, 2);
    assert.equal((await cli(['monitor', '--from', 'x'])).code, 2);
  });
});

describe('policy files', () => {
  it('an invalid file is told with line, field and reason, and nothing is sent', async () => {
    const file = join(node.stateDir, 'wrong.yaml');
    writeFileSync(file, 'endpointSelector: {}\ningres: []\n');
    const before = node.seen.length;
    const { stdout, stderr, code } = await cli(['policy', 'import', file, ...state()]);
    assert.equal(code, 2);
    assert.equal(stdout, '');
    assert.match(stderr, /wrong\.yaml:2:\d+: ingres: /);
    assert.match(stderr, /^Hint: nothing was changed$/m);
    assert.equal(node.seen.length, before);
  });

  it('validate exits 1 for an invalid file and 0 for a valid one, without an agent', async () => {
    const good = join(node.stateDir, 'good.yaml');
    writeFileSync(good, 'endpointSelector: {}\ningress: [{}]\n');
    const valid = await cli(['policy', 'validate', good]);
    assert.equal(valid.code, 0, valid.stderr);
    assert.match(valid.stdout, /valid, 1 rule/);
    const invalid = await cli(['policy', 'validate', '-'], { stdin: '{' });
    assert.equal(invalid.code, 1);
  });

  it('a file that is not there: exit 2', async () => {
    assert.equal((await cli(['policy', 'import', '/nonexistent.yaml'])).code, 2);
    assert.equal((await cli(['policy', 'import'])).code, 2);
    assert.equal((await cli(['policy', 'delete'])).code, 2);
  });
});

describe('maps', () => {
  it('nothing pinned: exit 4 (3 without root), with a remedy', async () => {
    const { stderr, code } = await cli(['bpf', 'endpoint', 'list', '--bpf-dir', '/nonexistent']);
    assert.equal(code, process.getuid?.() === 0 ? 4 : 3);
    assert.match(stderr, /^Hint: /m);
  });
});
