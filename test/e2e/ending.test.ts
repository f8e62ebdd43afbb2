/** How the programs end. */
import t from 'tap';
import { eventually, startCoordinator, startStockWorker } from './support/system.ts';

t.test('the programs end when they are told to, though nobody reads what they write any more', async (t) => {
  const coordinator = await startCoordinator(t);
  const worker = await startStockWorker(t, coordinator.url, 'w1');
  for (const program of [worker, coordinator]) {
    program.child.stdout?.destroy();
    program.child.stderr?.destroy();
    program.child.kill('SIGTERM');
    let end: unknown = null;
    void program.exited.then((how) => {
      end = how;
    });
    await eventually('the program ends', () => end !== null);
    t.equal(end, 0);
  }
});

t.test('and when their starter is gone, with all that it read', async (t) => {
  const coordinator = await startCoordinator(t);
  const worker = await startStockWorker(t, coordinator.url, 'w1');
  let end: unknown = null;
  void worker.exited.then((how) => {
    end = how;
  });
  worker.child.stdout?.destroy();
  worker.child.stderr?.destroy();
  // As the system does it when the starter is killed: the channel is closed, and a signal may come besides.
  worker.child.disconnect();
  worker.child.kill('SIGTERM');
  worker.child.kill('SIGTERM');
  await eventually('the worker ends', () => end !== null, 25_000);
  t.ok(end === 0 || end === 1, `by itself, with ${String(end)}: 1 when the second signal found it draining`);
});
