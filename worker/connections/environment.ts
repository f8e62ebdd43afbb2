/**
 * `${NAME}` in the texts of the connections file: the value of an environment variable, so that no secret stands in a file.
 *
 * Invariants
 * 1. Works on parsed values, not on the file's text: a value can never add keys or change the structure.
 * 2. `${NAME:-text}` has a default, used when the variable is not set or empty; `$${` stands for `${`.
 * 3. Every variable that is missing is reported, with the place that names it.
 */

import type { FieldProblem, Path } from '../fields/path.ts';
import type { Json } from '../handler.ts';

/** What `substitute` answers with besides problems. */
export interface Substitution {
  readonly value: Json;
  /** Values that came from the environment. */
  readonly secrets: readonly string[];
}

/** The value with every `${NAME}` replaced. */
export function substitute(
  value: Json,
  env: Readonly<Record<string, string | undefined>>,
  path: Path,
  problems: FieldProblem[],
): Substitution {
  const secrets: string[] = [];

  const inText = (text: string, at: Path): string =>
    text.replace(/\$\$\{|\$\{([^{}]*)\}?/g, (whole, inner: string | undefined) => {
      if (whole === '$${') return '${';
      const parts = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s.exec(inner ?? '');
      if (parts === null || !whole.endsWith('}')) {
        problems.push({
          path: at,
          message: `${JSON.stringify(whole)} names no environment variable: write \${NAME} or \${NAME:-default}, or $\${ for a plain \${`,
        });
        return '';
      }
      const [, name, fallback] = parts;
      const found = env[name];
      if (found !== undefined && found !== '') {
        secrets.push(found);
        return found;
      }
      if (fallback !== undefined) return fallback;
      problems.push({ path: at, message: `environment variable ${name} is ${found === '' ? 'empty' : 'not set'}` });
      return '';
    });

  const inValue = (current: Json, at: Path): Json => {
    if (typeof current === 'string') return inText(current, at);
    if (Array.isArray(current)) return current.map((element, index) => inValue(element, [...at, index]));
    if (typeof current === 'object' && current !== null)
      return Object.fromEntries(Object.entries(current).map(([key, element]) => [key, inValue(element, [...at, key])]));
    return current;
  };

  return { value: inValue(value, path), secrets };
}
