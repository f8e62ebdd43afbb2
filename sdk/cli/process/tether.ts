/**
 * Loaded into every process that `wf` starts, before its program: when `wf` is gone, however it went, the process ends too.
 *
 * The tether is the IPC channel: the system closes it when `wf` dies, even by SIGKILL. First a SIGTERM, so that the program ends
 * gracefully; after 15 seconds the hard way.
 */
const graceMs = 15_000;

if (process.channel) {
  process.once('disconnect', () => {
    setTimeout(() => process.exit(1), graceMs).unref();
    process.kill(process.pid, 'SIGTERM');
  });
  // A listener keeps the channel, and with it the process, alive: the program alone decides when it is done.
  process.channel.unref();
}
