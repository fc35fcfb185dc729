import type { NetnsLab } from './netns.ts';

/** Two namespaces of a lab with a veth between them, `eth0` in both; the second one's stack answers for 10.2/16. */
export async function answeringPair(
  lab: NetnsLab,
): Promise<{ readonly here: string; readonly there: string }> {
  const [here, there] = [await lab.namespace('a'), await lab.namespace('b')];
  await lab.veth(
    { name: 'eth0', netns: here, addresses: ['10.1.0.1/24'] },
    { name: 'eth0', netns: there, addresses: ['10.1.0.2/24'] },
  );
  await lab.ip('-n', there, 'route', 'add', 'local', '10.2.0.0/16', 'dev', 'lo');
  await lab.ip('-n', here, 'route', 'add', '10.2.0.0/16', 'via', '10.1.0.2');
  return { here, there };
}
