/**
 * Keeps secrets out of everything that people read: every value that the connections file took from the environment is replaced
 * wherever it turns up in a message, a log line or an error's details.
 *
 * Invariants
 * 1. A secret shorter than four characters is not searched for: replacing each `1` would make every message unreadable.
 * 2. Longer secrets are replaced first, so that one that contains another leaves nothing behind.
 * 3. A URL hides its password and its path too: webhook addresses carry their secret in the path.
 */
import type { Json } from '../handler.ts';

const shortest = 4;
const mask = '***';

/** Replaces secrets. Made once, when the connections file is read. */
export class Redactor {
  #secrets: readonly string[] = [];

  /** Remembers a secret and the forms in which it may turn up: URL-encoded, the parts of a URL. */
  add(secret: string): void {
    const forms = new Set([...this.#secrets, secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)]);
    if (URL.canParse(secret)) {
      const url = new URL(secret);
      forms.add(url.href);
      forms.add(url.password);
      forms.add(decode(url.password));
      if (url.pathname.length >= 16) forms.add(url.pathname);
      if (url.search !== '') forms.add(url.search);
      for (const value of url.searchParams.values()) if (value.length >= 8) forms.add(value);
    }
    this.#secrets = [...forms].filter((form) => form.length >= shortest).sort((left, right) => right.length - left.length);
  }

  /** The text without any secret. */
  text(text: string): string {
    let redacted = text;
    for (const secret of this.#secrets) redacted = redacted.replaceAll(secret, mask);
    return redacted;
  }

  /** The value without any secret in its texts or keys. */
  json(value: Json): Json {
    if (this.#secrets.length === 0) return value;
    if (typeof value === 'string') return this.text(value);
    if (Array.isArray(value)) return value.map((element) => this.json(element));
    if (typeof value === 'object' && value !== null)
      return Object.fromEntries(Object.entries(value).map(([key, element]) => [this.text(key), this.json(element)]));
    return value;
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
