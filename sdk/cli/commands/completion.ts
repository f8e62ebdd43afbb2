/**
 * `wf completion`: scripts by which shells complete commands and options. Made from the program itself, so they know what it knows.
 */
import type { Command } from 'commander';
import { exit } from '../exit.ts';
import { action, type Shell, withExamples } from '../shell.ts';
import { oneOf } from '../words.ts';

const shells = ['bash', 'zsh', 'fish'] as const;

/** A command as a shell needs it. */
interface Completable {
  /** `wf workers drain` without `wf`. */
  readonly path: readonly string[];
  readonly doc: string;
  readonly commands: readonly string[];
  readonly options: readonly { readonly flag: string; readonly doc: string }[];
}

/** Adds the command. */
export function registerCompletion(program: Command, shell: Shell): void {
  const completion = program
    .command('completion')
    .argument('<shell>', shells.join(', '))
    .description('print a script that completes commands and options')
    .action(
      action<[string], Record<string, never>>(shell, (_, name) => {
        const commands = completables(program, []);
        switch (oneOf('shell', name, shells)) {
          case 'bash':
            shell.terminal.write(bashScript(commands));
            break;
          case 'zsh':
            shell.terminal.write(`#compdef wf\nautoload -U +X bashcompinit && bashcompinit\n${bashScript(commands)}`);
            break;
          case 'fish':
            shell.terminal.write(fishScript(commands));
            break;
        }
        return exit.ok;
      }),
    );
  withExamples(
    completion,
    'wf completion bash > ~/.local/share/bash-completion/completions/wf',
    'source <(wf completion zsh)',
    'wf completion fish > ~/.config/fish/completions/wf.fish',
  );
}

function completables(command: Command, path: readonly string[]): Completable[] {
  const options = command.options.filter((option) => option.long).map((option) => ({ flag: option.long ?? '', doc: option.description }));
  const own: Completable = {
    path,
    doc: command.description(),
    commands: command.commands.map((child) => child.name()),
    options: [...options, { flag: '--help', doc: 'display help' }],
  };
  return [own, ...command.commands.flatMap((child) => completables(child, [...path, child.name()]))];
}

/** A bash function: it walks the words to the innermost command, then offers what that one knows, and files. */
function bashScript(commands: readonly Completable[]): string {
  const cases = commands.map(({ path, commands: names, options }) => {
    const words = [...names, ...options.map((option) => option.flag)].join(' ');
    return `    '${path.join(' ')}') words='${words}' ;;`;
  });
  const paths = commands.filter(({ path }) => path.length > 0).map(({ path }) => `'${path.join(' ')}'`);
  return `_wf() {
  local current="\${COMP_WORDS[COMP_CWORD]}" at='' words='' word next
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    next="\${at:+$at }$word"
    case "$next" in ${paths.join('|')}) at="$next" ;; esac
  done
  case "$at" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [[ "$current" != -* ]]; then COMPREPLY+=($(compgen -f -- "$current")); fi
}
complete -o filenames -F _wf wf
`;
}

function fishScript(commands: readonly Completable[]): string {
  const quote = (text: string) => `'${text.replace(/\\/g, '\\\\').replace(/'/g, "\\'")}'`;
  const docs = new Map(commands.map((command) => [command.path.join(' '), command.doc]));
  const lines = commands.flatMap(({ path, commands: names, options }) => {
    const seen = path.map((word) => `__fish_seen_subcommand_from ${word}`).join('; and ');
    const none = names.length === 0 ? '' : `not __fish_seen_subcommand_from ${names.join(' ')}`;
    const condition = (more: string) => quote([seen, more].filter((part) => part !== '').join('; and '));
    return [
      ...names.map((name) => `complete -c wf -n ${condition(none)} -a ${name} -d ${quote(docs.get([...path, name].join(' ')) ?? '')}`),
      ...(path.length === 0
        ? []
        : options.map(({ flag, doc }) => `complete -c wf -n ${condition('')} -l ${flag.slice(2)} -d ${quote(doc)}`)),
    ];
  });
  return `${lines.join('\n')}\n`;
}
