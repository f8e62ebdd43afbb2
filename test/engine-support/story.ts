/**
 * Stories: data files of blocks, each some commands, a line of dashes, and what they print. Blocks are parted by empty lines;
 * a block whose lines all begin with `#` is a remark. The file is both the test and what a person reads to learn how the engine behaves.
 */
import { Narrator } from './story-language.ts';

/** One piece of a story file. */
type Block = { readonly kind: 'remark'; readonly lines: readonly string[] } | { readonly kind: 'step'; readonly input: readonly string[] };

/** Runs every block of a story and returns the file as it should be. Throws, with the line, on a command that it does not know. */
export function play(text: string): string {
  const narrator = new Narrator();
  const blocks = readBlocks(text).map((block) => {
    if (block.kind === 'remark') return block.lines.join('\n');
    const output = block.input[0].startsWith('workflow')
      ? narrator.begin(block.input)
      : block.input.flatMap((line) => narrator.perform(line));
    return [...block.input, '----', ...output, ...narrator.standing()].join('\n');
  });
  return `${blocks.join('\n\n')}\n`;
}

function readBlocks(text: string): Block[] {
  return text
    .split(/\n\s*\n/)
    .map((block) => block.split('\n').filter((line) => line.trim() !== ''))
    .filter((lines) => lines.length > 0)
    .map((lines) => {
      if (lines.every((line) => line.startsWith('#'))) return { kind: 'remark', lines };
      const dashes = lines.indexOf('----');
      return { kind: 'step', input: dashes < 0 ? lines : lines.slice(0, dashes) };
    });
}
