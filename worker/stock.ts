/**
 * The stock job types for workers of one's own:
 *
 * ```ts
 * const connections = loadConnections({ file: 'connections.yaml', dataFolder: '.data', env: process.env });
 * const pool = openComputePool();
 * const stock = stockHandlers(connections, pool);
 * const worker = createWorker();
 * for (const type of stockTypes) worker.handle(type, stock.handlers[type]);
 * worker.handle('greet', () => 'hello');
 * await worker.start();
 * ```
 */
export { type Connections, noConnections } from './connections/connections.ts';
export { ConnectionsError, type ConnectionsSource, loadConnections } from './connections/load.ts';
export { type StockHandlers, type StockOptions, type StockType, stockHandlers, stockTypes } from './jobs/stock.ts';
export { type ComputePool, openComputePool, type PoolOptions } from './pool/pool.ts';
