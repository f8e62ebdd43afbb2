/** Bodies of REST requests: which content types are read. Pure. */
import { Code } from '@connectrpc/connect';
import { HttpError } from './errors.ts';
import type { BodyTarget } from './rest-binding.ts';

/** Content types of a text body: a definition is YAML, and JSON is YAML too. A body without a type is taken as text. */
const textTypes = ['text/plain', 'application/yaml', 'text/yaml', 'application/x-yaml', 'application/json', 'application/octet-stream'];

/** The media type of a `Content-Type` without its parameters, in small letters; null without one. */
export function mediaType(header: string | undefined): string | null {
  const type = header?.split(';', 1)[0].trim().toLowerCase() ?? '';
  return type === '' ? null : type;
}

/** Null when the target can be read from a body of this content type, else 415 with what would be right. */
export function contentTypeError(target: BodyTarget, header: string | undefined): HttpError | null {
  if (target.kind === 'none') return null;
  const type = mediaType(header);
  const charset = /;\s*charset="?([^";\s]+)/i.exec(header ?? '')?.[1].toLowerCase() ?? 'utf-8';
  const fits =
    target.kind === 'text'
      ? type === null || textTypes.includes(type)
      : type === null || type === 'application/json' || type.endsWith('+json');
  if (fits && (charset === 'utf-8' || charset === 'us-ascii')) return null;
  const right = target.kind === 'text' ? textTypes.slice(0, 4).join(', ') : 'application/json';
  const found = fits ? `the charset ${charset}` : `the content type ${type}`;
  const hint = type === 'application/x-www-form-urlencoded' ? ' (curl sends this unless told otherwise)' : '';
  return new HttpError(415, Code.InvalidArgument, `cannot read ${found}${hint}; send one of: ${right}, in UTF-8`, 'UNSUPPORTED_MEDIA_TYPE');
}
