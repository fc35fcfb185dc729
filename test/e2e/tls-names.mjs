// TLS with a key that both ends know. `serve PORT` says `serving`, and answers each client with the name that it asked for;
// `ask ADDRESS PORT NAME` prints the answer, or `error CODE`.
import { connect, createServer } from 'node:tls';

const [role, ...words] = process.argv.slice(2);
const PSK = { psk: Buffer.alloc(32, 1), identity: 'test' };
const common = { ciphers: 'PSK', minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' };

if (role === 'serve') {
  const server = createServer({ ...common, pskCallback: () => PSK.psk }, (socket) => {
    socket.on('error', () => undefined);
    socket.end(`hello ${socket.servername}\n`);
  });
  server.on('tlsClientError', () => undefined);
  server.listen(Number(words[0]), '0.0.0.0', () => console.log('serving'));
} else {
  const [host, port, servername] = words;
  const client = connect({
    ...{ ...common, host, port: Number(port), servername, pskCallback: () => PSK },
    checkServerIdentity: () => undefined,
  });
  client.on('data', (bytes) => process.stdout.write(bytes));
  client.on('error', (error) => console.log(`error ${error.code}`));
}
