// A TCP stream that never pauses: `stream.mjs serve PORT`, or `stream.mjs send HOST PORT`, which sends a byte each
// 20 ms, gets it back, and prints every 100 ms `BYTES LONGEST_GAP_MS`; the gap is that of the last 100 ms and longer
// while nothing comes.
import { connect, createServer } from 'node:net';

const TICK_MS = 20;
const REPORT_MS = 100;
const [role, ...words] = process.argv.slice(2);

function serve(port) {
  const server = createServer((socket) => {
    socket.setNoDelay();
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  server.listen(port, '::', () => console.log('serving'));
}

function send(host, port) {
  const socket = connect({ host, port, noDelay: true });
  let bytes = 0;
  let last = performance.now();
  let longest = 0;
  socket.on('connect', () => {
    console.log('connected');
    last = performance.now();
    setInterval(() => socket.write('x'), TICK_MS);
    setInterval(() => {
      console.log(`${bytes} ${Math.round(Math.max(longest, performance.now() - last))}`);
      longest = 0;
    }, REPORT_MS);
  });
  socket.on('data', (part) => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    bytes += part.length;
  });
  socket.on('error', (error) => {
    console.log(`error ${error.code}`);
    process.exit(1);
  });
}

if (role === 'serve') serve(Number(words[0]));
else send(words[0], Number(words[1]));
