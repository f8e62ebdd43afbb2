/** Compressed request bodies, unpacked within a limit. */
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { Code, ConnectError } from '@connectrpc/connect';
import { malformed, tooLarge } from './errors.ts';

const unpackers = { gzip: promisify(zlib.gunzip), deflate: promisify(zlib.inflate), br: promisify(zlib.brotliDecompress) } as const;

/** Names of the encodings that can be read, as headers list them. */
export const acceptedEncodings: readonly string[] = ['identity', ...Object.keys(unpackers)];

/**
 * The bytes that `packed` holds in `encoding`. Rejects with `unimplemented` for an encoding that is not known, `resource_exhausted`
 * as soon as more than `maxBytes` come out, `invalid_argument` for bytes that are not of that encoding.
 */
export async function inflate(packed: Buffer, encoding: string, maxBytes: number): Promise<Buffer> {
  if (encoding === 'identity') return packed;
  const unpack = Object.hasOwn(unpackers, encoding) ? unpackers[encoding as keyof typeof unpackers] : undefined;
  if (unpack === undefined)
    throw new ConnectError(`cannot read the encoding '${encoding}'; known: ${acceptedEncodings.join(', ')}`, Code.Unimplemented);
  try {
    return await unpack(packed, { maxOutputLength: maxBytes });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(maxBytes);
    throw malformed(`the request is not valid ${encoding}`);
  }
}
