/** Where in a document something is: how people are told of it. */

/** Keys and list indexes from the top. */
export type Path = readonly (string | number)[];

/** `endpoints.orders.headers["X-Api-Key"]`, `files[2]`. The empty path is ''. */
export function formatPath(path: Path): string {
  let text = '';
  for (const segment of path) {
    if (typeof segment === 'number') text += `[${segment}]`;
    else if (/^[A-Za-z_][\w-]*$/.test(segment)) text += text === '' ? segment : `.${segment}`;
    else text += `[${JSON.stringify(segment)}]`;
  }
  return text;
}

/** One thing that is wrong with a document. */
export interface FieldProblem {
  readonly path: Path;
  /** What was found and what would be right; does not repeat the path. */
  readonly message: string;
}

/** `schema: is required` - one line for people. */
export function formatProblem(problem: FieldProblem): string {
  const path = formatPath(problem.path);
  return path === '' ? problem.message : `${path}: ${problem.message}`;
}
