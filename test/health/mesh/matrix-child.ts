/**
 * A health agent of which a test reads the matrix: one line of JSON each 200 ms.
 * Arguments: name of the node, its address, file of the node list, state folder.
 */
import { silentLog } from '../../../src/base/log.ts';
import { nodePaths } from '../../../src/base/paths.ts';
import { startHealthProcess } from '../../../src/wiring/health.ts';

const [name = '', host = '', nodesFile = '', stateDir = ''] = process.argv.slice(2);
const running = await startHealthProcess({
  paths: nodePaths(stateDir),
  nodeName: name,
  agent: { kind: 'unix', path: '/nonexistent' },
  nodesFile,
  interval: { kind: 'fixed', ms: 500 },
  listen: [{ kind: 'address', host, port: 4240 }],
  sources: [host],
  log: silentLog,
});
const timer = setInterval(() => {
  const matrix = running.health.matrix();
  const rows = matrix.nodes.flatMap(({ name: node }) => {
    const row = matrix.row(node);
    if (row === undefined) return [];
    const cells = Object.fromEntries([...row.cells].map(([peer, { states }]) => [peer, states[4]]));
    const { incarnation, version } = row;
    return [[node, { incarnation, version, ageMs: matrix.ageMs(node), cells }]];
  });
  console.log(JSON.stringify(Object.fromEntries(rows)));
}, 200);
process.once('SIGTERM', () => {
  clearInterval(timer);
  void running.stop();
});
