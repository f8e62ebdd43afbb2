/**
 * What can be submitted: a file, text, a builder, or something registered.
 *
 * Invariant: nothing here is imported from Node; the file system is asked for at run time, so that a bundle for browsers needs no shim.
 */
import type { SubmitWorkflowRequest } from '@workflow-orchestrator/proto';
import { WorkflowError } from './error.ts';

/** Anything that can write itself as YAML, such as a workflow builder. */
export interface YamlSource {
  toYaml(): string;
}

/**
 * A workflow to submit. A plain string is YAML text when it has several lines or starts with `{` or `workflow:`,
 * otherwise the path of a file (Node only). The other forms say which they are.
 */
export type WorkflowSource =
  | string
  | YamlSource
  | { readonly yaml: string }
  | { readonly file: string }
  | { readonly definitionHash: string }
  | { readonly definitionName: string };

/** A definition as text: the forms of `WorkflowSource` that have one. */
export type DefinitionSource = Exclude<WorkflowSource, { readonly definitionHash: string } | { readonly definitionName: string }>;

/** The source as the contract has it. Throws `WorkflowError`: `invalid_argument` for what is no source, `not_found` for no file. */
export async function resolveSource(source: WorkflowSource): Promise<Exclude<SubmitWorkflowRequest['source'], { case: undefined }>> {
  if (typeof source === 'object' && source !== null) {
    if ('definitionHash' in source) return { case: 'definitionHash', value: source.definitionHash };
    if ('definitionName' in source) return { case: 'definitionName', value: source.definitionName };
  }
  return { case: 'yaml', value: await resolveText(source) };
}

/** The text of a definition. Throws as `resolveSource` does. */
export async function resolveText(source: DefinitionSource): Promise<string> {
  if (source === '' || (typeof source === 'object' && source !== null && 'file' in source && source.file === '')) {
    throw new WorkflowError('invalid_argument', 'the source of the workflow is empty: give the path of a file, or YAML text');
  }
  if (typeof source === 'string') return looksLikeText(source) ? source : readText(source);
  if (typeof source === 'object' && source !== null) {
    if ('yaml' in source) return source.yaml;
    if ('file' in source) return readText(source.file);
    if ('toYaml' in source && typeof source.toYaml === 'function') return source.toYaml();
  }
  throw new WorkflowError(
    'invalid_argument',
    'a workflow is a path, YAML text, { yaml }, { file }, { definitionHash }, { definitionName } or a builder',
  );
}

function looksLikeText(source: string): boolean {
  return source.includes('\n') || /^\s*(\{|["']?workflow["']?\s*:)/.test(source);
}

/** Reads a file in Node; elsewhere says what to give instead. */
async function readText(path: string): Promise<string> {
  const fs = globalThis.process?.getBuiltinModule?.('node:fs/promises');
  if (fs === undefined) {
    throw new WorkflowError(
      'invalid_argument',
      `${JSON.stringify(path)} is no YAML text, and there are no files here: give the text of the workflow`,
    );
  }
  try {
    return await fs.readFile(path, 'utf8');
  } catch (thrown) {
    const code = thrown instanceof Error && 'code' in thrown ? thrown.code : '';
    if (code === 'ENOENT')
      throw new WorkflowError('not_found', `no file ${path}`, { resource: { type: 'file', name: path }, cause: thrown });
    throw new WorkflowError('invalid_argument', `cannot read ${path}: ${thrown instanceof Error ? thrown.message : String(thrown)}`, {
      cause: thrown,
    });
  }
}
