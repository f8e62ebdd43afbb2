/** The store in PostgreSQL: the contract of stores against a real server. */
import t from 'tap';
import { postgres } from '../services/services.ts';
import { storeContract } from '../store-contract/contract.ts';
import { dropSpares, postgresHarness } from '../store-support/databases.ts';

const server = await postgres(t);
t.teardown(() => dropSpares(server.url));

if (server.skip !== false) t.test('the store in PostgreSQL', { skip: server.skip }, async () => {});
else storeContract(t, 'postgres', () => postgresHarness(server.url));
