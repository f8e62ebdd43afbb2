/**
 * Preload (`--import`) that plants one bug: the source file whose path ends as `PLANTED_BUG` says is changed as it is read, nothing on disk is.
 * Exits with 99 when the text to replace is not in the file any more.
 */
import { registerHooks } from 'node:module';

const [file, from, to] = JSON.parse(process.env.PLANTED_BUG ?? '[]') as [string, string, string];

registerHooks({
  load: (url, context, nextLoad) => {
    const loaded = nextLoad(url, context);
    if (!url.endsWith(`/${file}`)) return loaded;
    const source = String(loaded.source);
    if (!source.includes(from)) process.exit(99);
    return { ...loaded, source: source.replace(from, () => to) };
  },
});
