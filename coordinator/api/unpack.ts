/** Compressed request bodies, unpacked within a limit. */
import type { IncomingHttpHeaders } from 'node:http';
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { Code } from '@connectrpc/connect';
import { HttpError, malformed, tooLarge } from './errors.ts';

const unpackers = { gzip: promisify(zlib.gunzip), deflate: promisify(zlib.inflate), br: promisify(zlib.brotliDecompress) } as const;

/**
 * The body as its `Content-Encoding` says, at once when it was not packed. Throws or rejects: 415 for an encoding that is not known,
 * `resource_exhausted` as soon as more than `maxBytes` come out, `invalid_argument` for bytes that are not of that encoding.
 */
export function unpacked(body: Buffer, headers: IncomingHttpHeaders, maxBytes: number): Buffer | Promise<Buffer> {
  const encoding = headers['content-encoding']?.trim().toLowerCase() ?? 'identity';
  if (encoding === 'identity') return body;
  if (Object.hasOwn(unpackers, encoding)) return unpack(body, encoding as keyof typeof unpackers, maxBytes);
  const known = ['identity', ...Object.keys(unpackers)].join(', ');
  throw new HttpError(
    415,
    Code.InvalidArgument,
    `cannot read the content encoding '${encoding}'; known: ${known}`,
    'UNSUPPORTED_MEDIA_TYPE',
  );
}

async function unpack(packed: Buffer, encoding: keyof typeof unpackers, maxBytes: number): Promise<Buffer> {
  try {
    return await unpackers[encoding](packed, { maxOutputLength: maxBytes });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(maxBytes);
    throw malformed(`the request is not valid ${encoding}`);
  }
}
