// Datagrams: `datagrams.mjs serve PORT` sends each back; `datagrams.mjs send HOST PORT` sends one each 100 ms and prints
// `echo` for each that comes back.
import { createSocket } from 'node:dgram';

const TICK_MS = 100;
const [role, ...words] = process.argv.slice(2);
const socket = createSocket('udp4');
socket.on('error', (error) => console.log(`error ${error.code}`));
if (role === 'serve') {
  socket.on('message', (message, { port, address }) => socket.send(message, port, address));
  socket.bind(Number(words[0]), () => console.log('serving'));
} else {
  socket.on('message', () => console.log('echo'));
  setInterval(() => socket.send('x', Number(words[1]), words[0]), TICK_MS);
}
