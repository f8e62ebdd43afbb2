/** The store in PostgreSQL over a server that is killed under load. */
import t from 'tap';
import { crashes } from '../store-support/crashes.ts';

await crashes(t, 'SIGKILL');
