/**
 * What an application does: looks a name up and connects, at once, to the first address. Arguments: name server, type,
 * name, port, and `stay` to keep the connection and echo a byte each 200 ms. Prints `answer ...`, then `connected` or the
 * code of the error; with `stay` also `echo N`.
 */
import { promises } from 'node:dns';
import { connect } from 'node:net';

const [server, type, name, port, stay] = process.argv.slice(2);
const resolver = new promises.Resolver({ timeout: 3000, tries: 1 });
resolver.setServers([server]);

function open(host) {
  const socket = connect({ host, port: Number(port) });
  let echoes = -1;
  socket.setTimeout(1500, () => socket.destroy(Object.assign(new Error('timeout'), { code: 'TIMEOUT' })));
  socket.on('error', (error) => console.log(error.code));
  socket.on('data', () => {
    if (++echoes === 0) console.log('connected');
    else console.log(`echo ${echoes}`);
    if (stay === undefined) socket.destroy();
    else setTimeout(() => socket.write('x'), 200);
  });
}

try {
  // An address is connected to as it is.
  const [address] = type === 'none' ? [name] : await resolver.resolve(name, type);
  console.log(`answer ${address}`);
  open(address);
} catch (error) {
  console.log(error.code);
}
