import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { UsageError } from '../../src/base/errors.ts';
import { DEFAULT_LAB_NAME } from '../../src/lab/layout.ts';
import { BaseCommand } from '../base.ts';

export default class LabExec extends BaseCommand<typeof LabExec> {
  static override summary = 'Run a command inside a workload or on a node of a lab';
  static override description =
    "On a node, the agent's sockets and folders are in the environment: `lab exec node1 -- ciliate status`. Exits as the command does.";
  static override examples = [
    '<%= config.bin %> lab exec xwing -- ciliate lab send POST http://10.10.1.5/v1/request-landing',
    '<%= config.bin %> lab exec node1 -- ip route',
  ];
  static override strict = false;
  static override args = {
    where: Args.string({ required: true, description: 'a workload or a node' }),
  };
  static override flags = {
    name: Flags.string({ description: "the lab's name", default: DEFAULT_LAB_NAME }),
  };

  async run(): Promise<void> {
    const [{ openLab }, { inNetns }, { defaultLabsDir }, { nodeEnvironment, pathWithCiliate }] =
      await Promise.all([
        import('../../src/lab/lab.ts'),
        import('../../src/lab/host.ts'),
        import('../../src/lab/requirements.ts'),
        import('../../src/lab/agent-process.ts'),
      ]);
    const lab = openLab(this.flags.name, defaultLabsDir());
    const { where } = this.args;
    const separator = this.argv.indexOf('--');
    const words = separator < 0 ? [] : this.argv.slice(separator + 1);
    if (words.length === 0) {
      throw new UsageError('no command to run', {
        hint: `write it after --: ciliate lab exec ${where} -- ip address`,
      });
    }
    const node = lab.layout.nodes.find((candidate) => candidate.name === where);
    const netns = node === undefined ? lab.place(where).netns : node.netns;
    const [program = '', ...rest] = inNetns(netns, words);
    const env = {
      ...process.env,
      ...(node === undefined ? { PATH: pathWithCiliate() } : nodeEnvironment(node)),
    };
    const child = spawn(program, rest, { stdio: 'inherit', env });
    const [code, signal] = await once(child, 'exit');
    process.exitCode = typeof code === 'number' ? code : signal === null ? 1 : 128;
  }
}
