import { appendFileSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';

/*
 * Stands for the proxy process: speaks its side of the protocol on `proxy.sock` and writes down what it is told. Words
 * after `--` tell it how to behave: `mute` never acknowledges a policy, `die` ends at once.
 */
const words = process.argv.slice(2);
const stateDir = words[words.indexOf('--state-dir') + 1] ?? '';
const behaviour = process.env.FAKE_PROXY ?? '';
const log = (line: unknown): void =>
  appendFileSync(join(stateDir, 'fake-proxy.log'), `${JSON.stringify(line)}\n`);

log({ pid: process.pid, words });
if (behaviour === 'die') process.exit(1);

const send = (socket: Socket, message: unknown): void => void socket.write(`${JSON.stringify(message)}\n`);

const server = createServer((socket) => {
  let rest = '';
  socket.setEncoding('utf8');
  socket.on('error', () => undefined);
  send(socket, { type: 'hello', pid: process.pid, version: 'fake' });
  socket.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const message = JSON.parse(line) as { type: string; sequence?: number; policy?: { revision: number } };
      log(message);
      if (message.type === 'policy' && behaviour !== 'mute')
        send(socket, { type: 'policy-applied', sequence: message.sequence });
      if (message.type === 'policy' && behaviour === 'talk') {
        send(socket, { type: 'lost', records: 3 });
        send(socket, { type: 'counters', counters: { dns: { denied: 5 } } });
        send(socket, {
          type: 'dns-observed',
          id: 7,
          observation: {
            endpoint: 9,
            identity: 300,
            names: ['a.b'],
            addresses: ['192.0.2.1'],
            ttlSeconds: 5,
          },
        });
      }
    }
  });
});
const path = join(stateDir, 'proxy.sock');
rmSync(path, { force: true });
server.listen(path);
process.on('SIGTERM', () => process.exit(0));
