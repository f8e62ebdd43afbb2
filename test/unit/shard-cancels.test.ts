/** Attempts that are to stop: who is told, what ends them, what they leave behind. */
import { limits } from '@workflow-orchestrator/proto/limits';
import t from 'tap';
import { graphOf } from '../engine-support/graphs.ts';
import { offered, take, worldWith } from '../shard-support/attempts.ts';

const one = graphOf('a');

t.test('a cancel is told to the worker at once, again with each heartbeat, and its end is taken', async (t) => {
  const { world, worker } = await worldWith();
  const id = await world.start(one);
  const token = await take(world, worker);
  worker.heard.length = 0;
  await world.steer(id, { kind: 'cancel', reason: 'enough', force: false });
  t.same(worker.heard, [`cancel ${token} enough`]);
  worker.beat();
  await world.settle();
  t.same(worker.heard, [`cancel ${token} enough`, `cancel ${token} enough`]);
  worker.stopped(token);
  await world.settle();
  t.match(world.state(id), { status: 'CANCELLED', jobs: [{ phase: 'CANCELLED', attempts: [{ outcome: 'CANCELLED' }] }] });
  t.same(world.violations, []);
});

t.test('a worker that does not obey a cancel loses the attempt after the grace', async (t) => {
  const { world, worker } = await worldWith();
  const id = await world.start(one);
  const token = await take(world, worker);
  await world.steer(id, { kind: 'cancel', reason: '', force: false });
  t.equal(world.ports.alarmAt, world.now + limits.cancelGraceMs);
  await world.advance(limits.cancelGraceMs - 1);
  t.equal(world.state(id).status, 'RUNNING');
  await world.advance(1);
  t.equal(world.state(id).status, 'CANCELLED');
  t.equal(worker.heard.at(-1), `revoke ${token}`);
});

t.test('a cancel whose grace ends before anybody accepted leaves no attempt', async (t) => {
  const { world, worker } = await worldWith();
  const id = await world.start(one);
  const token = offered(worker);
  await world.steer(id, { kind: 'cancel', reason: '', force: false });
  await world.advance(limits.cancelGraceMs);
  t.match(world.state(id), { status: 'CANCELLED', jobs: [{ phase: 'CANCELLED', attempts: { length: 0 } }] });
  t.equal(worker.heard.at(-1), `revoke ${token}`);
  t.same(world.violations, []);
});

t.test('a cancel that found the socket gone is told with the first heartbeat after it came back', async (t) => {
  const { world, worker } = await worldWith();
  const id = await world.start(one);
  const token = await take(world, worker);
  worker.detach();
  await world.steer(id, { kind: 'cancel', reason: 'enough', force: false });
  worker.attach();
  await world.settle();
  worker.beat();
  await world.settle();
  t.ok(worker.heard.includes(`cancel ${token} enough`));
});

t.test('a rejected assignment of a job that is to stop has what it wanted', async (t) => {
  const { world, worker } = await worldWith();
  const id = await world.start(one);
  await world.steer(id, { kind: 'cancel', reason: '', force: false });
  worker.reject(offered(worker), 'cancelled');
  await world.settle();
  t.match(world.state(id), { status: 'CANCELLED', jobs: [{ attempts: { length: 0 } }] });
});
