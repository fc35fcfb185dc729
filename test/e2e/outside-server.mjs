/** A TCP server outside the cluster: says `hello` to each connection and keeps it open. Its argument is the port. */
import { createServer } from 'node:net';

const server = createServer((socket) => {
  socket.on('error', () => undefined);
  socket.on('data', (bytes) => socket.write(bytes));
  socket.write('hello\n');
});
server.listen(Number(process.argv[2]), () => console.log('ready'));
