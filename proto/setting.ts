/**
 * How settings of a program are described, read and checked. The tables themselves are in `settings.ts`.
 *
 * Invariants
 * 1. Pure: arguments and environment come in, values or problems come out. Nothing here reads a file, a clock or `process`.
 * 2. A flag wins over the environment, the environment over the default. An environment variable that is set to nothing counts as not set.
 * 3. Everything is checked at once: the answer names every problem, not the first.
 * 4. Values of secret settings, and passwords in URLs, are never part of a text for people.
 */
import { addressList } from './addresses.ts';
import { nearest } from './nearest.ts';

/** What every setting has. */
interface Described {
  /** `--port` */
  readonly flag: string;
  /** `PORT` */
  readonly env: string;
  /** For people, one line. */
  readonly doc: string;
  /** Never shown. */
  readonly secret?: true;
}

/** A setting of a program. `default: null` means that it may be absent. */
export type Setting =
  | (Described & { readonly type: 'text'; readonly default: string | null })
  | (Described & { readonly type: 'integer'; readonly min: number; readonly max: number; readonly default: number | null })
  | (Described & { readonly type: 'boolean'; readonly default: boolean })
  | (Described & { readonly type: 'choice'; readonly choices: readonly string[]; readonly default: string })
  /** Kept as it was given, apart from surrounding space and a driver suffix (`postgresql+psycopg:` is read as `postgresql:`). */
  | (Described & { readonly type: 'url'; readonly protocols: readonly string[]; readonly default: string | null })
  /** One or several such URLs, `a,b,c`; the flag may be repeated. Each once, in order. */
  | (Described & { readonly type: 'urls'; readonly protocols: readonly string[]; readonly default: readonly string[] })
  /** `k=v,k=v`; the flag may be repeated. */
  | (Described & { readonly type: 'labels'; readonly default: Readonly<Record<string, string>> })
  /** `a,b,c`; the flag may be repeated. */
  | (Described & { readonly type: 'list'; readonly default: readonly string[] });

/** The type of a setting's value. */
export type SettingValue<S extends Setting> =
  | (S extends { type: 'integer' }
      ? number
      : S extends { type: 'boolean' }
        ? boolean
        : S extends { type: 'choice'; choices: readonly (infer C)[] }
          ? C
          : S extends { type: 'labels' }
            ? Readonly<Record<string, string>>
            : S extends { type: 'list' | 'urls' }
              ? readonly string[]
              : string)
  | (null extends S['default'] ? null : never);

/** Settings by name. */
export type Settings = Readonly<Record<string, Setting>>;

/** The values of a table, by name. */
export type SettingValues<S extends Settings> = { readonly [K in keyof S]: SettingValue<S[K]> };

/** A rule over several settings; checked when all that it reads are good. */
export interface SettingRule<S extends Settings> {
  readonly reads: readonly (keyof S & string)[];
  /** What is wrong and what would be right, or null. */
  readonly check: (values: SettingValues<S>) => string | null;
}

/** The settings of one program. */
export interface SettingTable<S extends Settings> {
  /** As people start it. */
  readonly program: string;
  readonly settings: S;
  readonly rules: readonly SettingRule<S>[];
}

/** Where a value came from. */
export type SettingSource = 'flag' | 'environment' | 'default';

/** Every value with its source, or every problem, each one line for people. */
export type ResolvedSettings<S extends Settings> =
  | { readonly kind: 'ok'; readonly values: SettingValues<S>; readonly sources: { readonly [K in keyof S]: SettingSource } }
  | { readonly kind: 'bad'; readonly problems: readonly string[] };

/** Reads settings from command line arguments (without the program's own name) and environment variables. */
export function resolveSettings<S extends Settings>(
  table: SettingTable<S>,
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): ResolvedSettings<S> {
  const problems: string[] = [];
  const flags = readFlags(table.settings, argv, problems);
  const values: Record<string, unknown> = {};
  const sources: Record<string, SettingSource> = {};
  const bad = new Set<string>();
  for (const [name, setting] of Object.entries(table.settings)) {
    const fromEnv = env[setting.env];
    const flag = flags.get(name);
    const found =
      flag !== undefined
        ? { text: flag, label: setting.flag, source: 'flag' as const }
        : fromEnv !== undefined && fromEnv.trim() !== ''
          ? { text: fromEnv, label: setting.env, source: 'environment' as const }
          : null;
    if (found === null) {
      values[name] = setting.default;
      sources[name] = 'default';
      continue;
    }
    const parsed = parseSetting(setting, found.text.trim());
    if (parsed.kind === 'bad') {
      bad.add(name);
      const shown = setting.secret ? '' : ` ${JSON.stringify(hidePassword(found.text))}:`;
      problems.push(`${found.label}:${shown} ${parsed.message}`);
      continue;
    }
    values[name] = parsed.value;
    sources[name] = found.source;
  }
  for (const rule of table.rules) {
    if (rule.reads.some((name) => bad.has(name))) continue;
    const problem = rule.check(values as SettingValues<S>);
    if (problem !== null) problems.push(problem);
  }
  if (problems.length > 0) return { kind: 'bad', problems };
  return { kind: 'ok', values: values as SettingValues<S>, sources: sources as { [K in keyof S]: SettingSource } };
}

/** Finds each flag's text. The last one wins; lists, URLs and labels add up. */
function readFlags(settings: Settings, argv: readonly string[], problems: string[]): Map<string, string> {
  const byFlag = new Map(Object.entries(settings).map(([name, setting]) => [setting.flag, { name, setting }]));
  const found = new Map<string, string>();
  for (let index = 0; index < argv.length; index += 1) {
    const argument = argv[index];
    if (!argument.startsWith('--')) {
      problems.push(`unexpected argument ${JSON.stringify(argument)}: settings are given as --name value`);
      continue;
    }
    const equals = argument.indexOf('=');
    const flag = equals < 0 ? argument : argument.slice(0, equals);
    const known = byFlag.get(flag);
    const next = argv[index + 1];
    const nextIsValue = next !== undefined && !next.startsWith('--');
    if (known === undefined) {
      const near = nearest(flag, byFlag.keys());
      problems.push(`unknown flag ${flag}${near === null ? '' : `; did you mean ${near}?`}`);
      if (equals < 0 && nextIsValue) index += 1;
      continue;
    }
    const { name, setting } = known;
    let text: string;
    if (equals >= 0) text = argument.slice(equals + 1);
    else if (setting.type === 'boolean') text = 'true';
    else if (nextIsValue) {
      text = next;
      index += 1;
    } else {
      problems.push(`${flag} needs a value: ${setting.doc}`);
      continue;
    }
    const before = found.get(name);
    const addsUp = (setting.type === 'list' || setting.type === 'urls' || setting.type === 'labels') && before !== undefined;
    found.set(name, addsUp ? `${before},${text}` : text);
  }
  return found;
}

type Parsed = { readonly kind: 'ok'; readonly value: unknown } | { readonly kind: 'bad'; readonly message: string };

/** Reads one setting's text. */
function parseSetting(setting: Setting, text: string): Parsed {
  const ok = (value: unknown): Parsed => ({ kind: 'ok', value });
  const bad = (message: string): Parsed => ({ kind: 'bad', message });
  switch (setting.type) {
    case 'text':
      if (text === '') return bad('must not be empty');
      if (setting.secret && !/^[\x21-\x7e]+$/.test(text))
        return bad('must be printable ASCII without spaces, so that it fits into a header');
      return ok(text);
    case 'integer': {
      const number = /^[+-]?\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
      if (!(number >= setting.min && number <= setting.max)) return bad(`must be a whole number from ${setting.min} to ${setting.max}`);
      return ok(number);
    }
    case 'boolean':
      if (/^(true|1|yes|on)$/i.test(text)) return ok(true);
      if (/^(false|0|no|off)$/i.test(text)) return ok(false);
      return bad('must be true or false');
    case 'choice': {
      const choice = setting.choices.find((known) => known === text.toLowerCase());
      if (choice !== undefined) return ok(choice);
      const near = nearest(text, setting.choices);
      return bad(`must be one of ${setting.choices.join(', ')}${near === null ? '' : `; did you mean ${near}?`}`);
    }
    case 'url':
      return parseUrl(text, setting.protocols);
    case 'urls': {
      const addresses = addressList(text);
      if (addresses.length === 0) return bad('must name at least one URL');
      for (const address of addresses) {
        const parsed = parseUrl(address, setting.protocols);
        if (parsed.kind === 'ok') continue;
        return bad(addresses.length === 1 ? parsed.message : `${JSON.stringify(hidePassword(address))} ${parsed.message}`);
      }
      return ok(addresses);
    }
    case 'labels': {
      const labels: [string, string][] = [];
      for (const entry of splitList(text)) {
        const equals = entry.indexOf('=');
        if (equals < 1) return bad(`must be written k=v,k=v; ${JSON.stringify(entry)} is no pair`);
        labels.push([entry.slice(0, equals).trim(), entry.slice(equals + 1).trim()]);
      }
      return ok(Object.fromEntries(labels));
    }
    case 'list':
      return ok([...new Set(splitList(text))]);
    default:
      return setting satisfies never;
  }
}

/** Reads one URL. */
function parseUrl(text: string, protocols: readonly string[]): Parsed {
  const url = text.replace(/^(postgres(?:ql)?)\+[a-z0-9]+:/i, '$1:');
  const expected = `must be a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`;
  if (!URL.canParse(url)) return { kind: 'bad', message: expected };
  const parsed = new URL(url);
  if (!protocols.includes(parsed.protocol)) return { kind: 'bad', message: expected };
  return parsed.hostname === '' ? { kind: 'bad', message: 'must name a host' } : { kind: 'ok', value: url };
}

function splitList(text: string): string[] {
  return text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
}

/** A value as people are shown it: secrets masked, passwords in URLs masked, an absent one empty. */
export function showSetting(setting: Setting, value: unknown): string {
  if (value === null || value === undefined) return '';
  if (setting.secret) return '********';
  switch (setting.type) {
    case 'url':
      return hidePassword(String(value));
    case 'urls':
      return (value as readonly string[]).map(hidePassword).join(',');
    case 'labels':
      return Object.entries(value as Record<string, string>)
        .map(([key, label]) => `${key}=${label}`)
        .join(',');
    case 'list':
      return (value as readonly string[]).join(',');
    case 'text':
    case 'integer':
    case 'boolean':
    case 'choice':
      return String(value);
    default:
      return setting satisfies never;
  }
}

/** A text without the passwords of its URLs. It may be no URL, or several: a mistyped one does not show its password either. */
export function hidePassword(text: string): string {
  return text.replace(/(\/\/[^/@:]*):[^/@]*@/g, '$1:********@');
}

/** The help text of a program: every setting with its flag, variable, default and meaning. */
export function settingsHelp<S extends Settings>(table: SettingTable<S>): string {
  const rows = Object.values(table.settings).map((setting) => {
    const value = setting.type === 'boolean' ? '' : ` <${setting.type === 'choice' ? setting.choices.join('|') : setting.type}>`;
    const preset = showSetting(setting, setting.default);
    return [`${setting.flag}${value}`, setting.env, `${setting.doc}${preset === '' || preset === 'false' ? '' : ` (default ${preset})`}`];
  });
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => Math.min(row[column].length, 40))));
  const lines = rows.map(([flag, env, doc]) => `  ${flag.padEnd(widths[0])}  ${env.padEnd(widths[1])}  ${doc}`);
  return [
    `Usage: ${table.program} [settings]`,
    '',
    'Each setting is a flag or an environment variable; the flag wins.',
    '',
    ...lines,
    '',
  ].join('\n');
}
