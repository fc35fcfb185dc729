import { runChecked } from '../../src/base/run.ts';

const ip = (...words: readonly string[]): Promise<string> => runChecked(['ip', ...words]);

/** Makes two network namespaces with a veth between them, `eth0` in both; the second one's stack answers for 10.77/16. */
export async function makeAnsweringPair(a: string, b: string): Promise<void> {
  for (const name of [a, b]) {
    await ip('netns', 'add', name);
    await ip('-n', name, 'link', 'set', 'lo', 'up');
  }
  await ip('-n', a, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', b);
  for (const [name, address] of [
    [a, '10.99.0.1/24'],
    [b, '10.99.0.2/24'],
  ] as const) {
    await ip('-n', name, 'address', 'add', address, 'dev', 'eth0');
    await ip('-n', name, 'link', 'set', 'eth0', 'up');
  }
  await ip('-n', b, 'route', 'add', 'local', '10.77.0.0/16', 'dev', 'lo');
  await ip('-n', a, 'route', 'add', '10.77.0.0/16', 'via', '10.99.0.2');
}

/** @returns index of that namespace's `eth0` */
export async function indexOfDevice(netns: string): Promise<number> {
  const text = await ip('-n', netns, '-json', 'link', 'show', 'dev', 'eth0');
  return (JSON.parse(text) as { ifindex: number }[])[0]?.ifindex ?? 0;
}
