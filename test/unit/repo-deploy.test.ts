/**
 * What stands in `deploy/` fits the programs: units and their files name what the programs read, and the page tells of every setting and of metrics that are there.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Durability } from '@workflow-orchestrator/proto';
import {
  coordinatorSettings,
  resolveSettings,
  type Setting,
  type Settings,
  type SettingTable,
  showSetting,
  workerSettings,
} from '@workflow-orchestrator/proto/settings';
import { collectDefaultMetrics, Registry } from 'prom-client';
import t from 'tap';
import { createApiMetrics } from '../../coordinator/api/metrics.ts';
import { gatewayMetrics, registerGauges, registerTiers, shardMetrics } from '../../coordinator/metrics.ts';
import { ShardSeat } from '../../coordinator/shard/seat.ts';
import { ROOT } from '../repo/source.ts';

const read = (path: string): string => readFileSync(join(ROOT, 'deploy', path), 'utf8');
const page = read('README.md');

/** The lines `NAME=value` of a file for `EnvironmentFile=`; with those that are there as comments, or without. */
function variables(text: string, withComments: boolean): [name: string, value: string][] {
  const lines = text.matchAll(withComments ? /^#?([A-Z_]+)=(.*)$/gm : /^([A-Z_]+)=(.*)$/gm);
  return [...lines].map(([, name = '', value = '']) => [name, value]);
}

/** All values of a key of a unit, in order. */
function valuesOf(unit: string, key: string): string[] {
  return [...unit.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value = '']) => value);
}

/** Variables that Node itself reads. */
const OF_NODE = new Set(['NODE_OPTIONS']);

/** A program as a service. */
const service = <S extends Settings>(unit: string, env: string, table: SettingTable<S>) => ({
  unit: `systemd/${unit}`,
  env: `systemd/${env}`,
  program: table.program,
  settings: Object.values<Setting>(table.settings),
  resolve: (values: readonly (readonly [string, string])[]) => resolveSettings(table, [], Object.fromEntries(values)),
});

const SERVICES = [
  service('workflow-coordinator.service', 'coordinator.env', coordinatorSettings),
  service('workflow-worker@.service', 'worker.env', workerSettings),
];

for (const { unit, env, program, settings, resolve } of SERVICES) {
  const known = new Set(settings.map((setting) => setting.env));

  t.test(`${env} names what ${program} reads, and works as it stands and with all of it`, async (t) => {
    const text = read(env);
    for (const [name] of variables(text, true)) t.ok(known.has(name) || OF_NODE.has(name), name);
    t.match(resolve(variables(text, false)), { kind: 'ok' }, 'as it stands');
    const all = variables(text, true).map(([name, value]) => [name, value === '' ? 'secret' : value] as const);
    t.match(resolve(all), { kind: 'ok' }, 'with everything in it');
    t.notMatch(text, /^#?[A-Z_]+=\S* +#/m, 'systemd takes a comment behind a value for a part of it');
  });

  t.test(`${unit} keeps its files where it may write, and is started again for ever`, async (t) => {
    const text = read(unit);
    t.same(valuesOf(text, 'EnvironmentFile'), [`/etc/workflow-orchestrator/${env.replace('systemd/', '')}`]);
    for (const line of valuesOf(text, 'Environment')) t.ok(known.has(line.slice(0, line.indexOf('='))), line);
    const [folder] = valuesOf(text, 'StateDirectory');
    t.ok(valuesOf(text, 'Environment').includes(`DATA_DIR=%S/${folder}`), 'DATA_DIR is the folder that systemd makes');
    t.same(valuesOf(text, 'StateDirectoryMode'), ['0700']);
    t.same(valuesOf(text, 'StartLimitIntervalSec'), ['0']);
    t.same(valuesOf(text, 'Restart'), ['on-failure']);
    t.match(text.slice(0, text.indexOf('[Service]')), /^StartLimitIntervalSec=/m, 'where systemd looks for it');
    for (const place of [...valuesOf(text, 'ExecStart'), ...valuesOf(text, 'Documentation')]) t.match(place, '/opt/workflow-orchestrator/');
  });

  t.test(`deploy/README.md tells of every setting of ${program}, with its default`, async (t) => {
    const section = page.split(/^## /m).find((part) => part.startsWith('Settings\n')) ?? '';
    const rows = section.split(/^\n/m).find((part) => part.startsWith(`| ${program.replace('wf ', '')} |`)) ?? '';
    for (const setting of settings) {
      const [, given] = new RegExp(`^\\| \`${setting.env}\` \\| ([^|]*)\\|`, 'm').exec(rows) ?? [];
      const preset = showSetting(setting, setting.default);
      if (given === undefined) t.fail(`${setting.env} is not in the table`);
      else if (preset !== '') t.equal(given.trim(), preset, setting.env);
    }
  });
}

t.test('a worker that is stopped has the time that its settings give it', async (t) => {
  const seconds = Number(/^TimeoutStopSec=(\d+)s$/m.exec(read('systemd/workflow-worker@.service'))?.[1]);
  t.ok(seconds * 1_000 > workerSettings.settings.drainMs.default);
  for (const [name, value] of variables(read('systemd/worker.env'), true))
    if (name === 'WORKER_DRAIN_MS') t.ok(Number(value) < seconds * 1_000);
});

t.test('what is installed and started in deploy/README.md is there', async (t) => {
  for (const [, file = ''] of page.matchAll(/\/opt\/workflow-orchestrator\/([\w./-]+\.yaml)/g)) t.ok(readFileSync(join(ROOT, file)), file);
  for (const [, name] of page.matchAll(/\b(workflow-(?:coordinator|worker@))/g)) t.ok(read(`systemd/${name}.service`));
});

t.test('metrics that deploy/README.md names are there, with these labels', async (t) => {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  createApiMetrics(registry);
  shardMetrics(registry);
  gatewayMetrics(registry);
  registerGauges(registry, new ShardSeat(Durability.DURABLE, Date.now, 'nobody is here'), { workers: () => [] });
  registerTiers(registry, () => []);
  const metrics = new Map(registry.getMetricsAsArray().map((metric) => [metric.name, metric as unknown as { labelNames?: string[] }]));
  const named = [...page.matchAll(/`((?:wf|nodejs|process)_\w+)(?:\{([\w,]+)\})?`/g)];
  t.ok(named.length > 10);
  for (const [, name = '', labels] of named) {
    const metric = metrics.get(name);
    if (metric === undefined) t.fail(`there is no metric ${name}`);
    else if (labels !== undefined) t.same(labels.split(','), metric.labelNames, name);
  }
});
