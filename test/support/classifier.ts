import type { NetnsLab } from './netns.ts';

/** Classic BPF as `tc` takes it, with the verdicts of a classifier. */
const { drop, pass, random, length } = {
  drop: '6 0 0 2',
  pass: '6 0 0 4294967295',
  random: '32 0 0 4294963256',
  length: '128 0 0 0',
};

/** Drops this part of the packets, by chance. @param share 0..1 */
export function droppingShare(share: number): readonly string[] {
  return [random, `53 1 0 ${Math.round(share * 2 ** 32)}`, drop, pass];
}

/** Drops frames that are longer than this. */
export function droppingLonger(frameBytes: number): readonly string[] {
  return [length, `37 0 1 ${frameBytes}`, drop, pass];
}

/** What a namespace does with what it sends by a device. @param code undefined: it passes */
export async function classify(
  net: NetnsLab,
  { netns, device }: { readonly netns: string; readonly device: string },
  code: readonly string[] | undefined,
): Promise<void> {
  const tc = (...words: readonly string[]): Promise<string> => net.tc('-n', netns, ...words);
  if (code === undefined) {
    await tc('qdisc', 'del', 'dev', device, 'clsact');
    return;
  }
  await tc('qdisc', 'add', 'dev', device, 'clsact');
  const bytecode = `${code.length},${code.join(',')}`;
  await tc('filter', 'add', 'dev', device, 'egress', 'bpf', 'da', 'bytecode', bytecode);
}
