import * as Args from '@oclif/core/args';
import { BaseCommand } from './base.ts';

/** The program asks itself for the words that may follow: `ciliate --complete WORD... CURRENT`, one a line. */
const SCRIPTS = {
  bash: `_ciliate() {
  mapfile -t COMPREPLY < <("\${COMP_WORDS[0]}" --complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _ciliate ciliate
`,
  zsh: `#compdef ciliate
_ciliate() {
  local -a found
  found=("\${(@f)$("\${words[1]}" --complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  compadd -- \${found:#} || _files
}
compdef _ciliate ciliate
`,
  fish: `complete -c ciliate -f -a '(ciliate --complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
`,
} as const;

export default class Completion extends BaseCommand<typeof Completion> {
  static override summary = 'Print the script that completes commands and flags in a shell';
  static override examples = [
    'source <(<%= config.bin %> completion bash)',
    '<%= config.bin %> completion fish > ~/.config/fish/completions/ciliate.fish',
  ];
  static override args = {
    shell: Args.string({ required: true, description: 'shell', options: Object.keys(SCRIPTS) }),
  };

  run(): Promise<void> {
    process.stdout.write(SCRIPTS[this.args.shell as keyof typeof SCRIPTS]);
    return Promise.resolve();
  }
}
