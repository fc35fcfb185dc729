// HTTP requests that never pause: `http-stream.mjs serve PORT` answers 200 and prints a line `METHOD PATH` for each
// request that reached it; `http-stream.mjs send HOST PORT METHOD PATH` asks each 20 ms over one kept connection, opens
// another when it ends, and prints `STATUS CONNECTION` or `error CODE` for each request.
import { Agent, createServer, request } from 'node:http';

const TICK_MS = 20;
const LIMIT_MS = 1000;
const [role, ...words] = process.argv.slice(2);

function serve(port) {
  const server = createServer((incoming, response) => {
    console.log(`${incoming.method} ${incoming.url}`);
    incoming.resume();
    response.end('fine\n');
  });
  server.keepAliveTimeout = 60_000;
  server.listen(port, '::', () => console.log('serving'));
}

function send(host, port, method, path) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const places = new WeakMap();
  let connections = 0;
  const next = () => {
    const asked = request({ host, port, method, path, agent, timeout: LIMIT_MS }, (response) => {
      response.resume();
      response.on('end', () => {
        console.log(`${response.statusCode} ${places.get(asked.socket)}`);
        setTimeout(next, TICK_MS);
      });
    });
    asked.on('socket', (socket) => {
      if (!places.has(socket)) places.set(socket, ++connections);
    });
    asked.on('timeout', () => asked.destroy(Object.assign(new Error('time-out'), { code: 'TIMEOUT' })));
    asked.on('error', (error) => {
      console.log(`error ${error.code}`);
      setTimeout(next, TICK_MS);
    });
    asked.end();
  };
  next();
}

if (role === 'serve') serve(Number(words[0]));
else send(words[0], Number(words[1]), words[2], words[3]);
