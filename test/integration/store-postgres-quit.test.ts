/** The store in PostgreSQL over a server that is ended without a good-bye under load. */
import t from 'tap';
import { crashes } from '../store-support/crashes.ts';

await crashes(t, 'SIGQUIT');
