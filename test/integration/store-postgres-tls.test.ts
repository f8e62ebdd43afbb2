/** The way to PostgreSQL as its URL names it: TLS and what is checked of it, users, hosts. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parseAddress } from '../../coordinator/store/postgres/address.ts';
import { Link } from '../../coordinator/store/postgres/link.ts';
import { selfSigned } from '../jobs-support/certificate.ts';
import { postgres } from '../services/services.ts';
import { changed, connect, execute } from '../store-support/databases.ts';

t.test('a URL says where the database is', async (t) => {
  t.match(parseAddress('postgresql+psycopg://ann:s%40fe@db.example.com:6432/flows?sslmode=disable'), {
    hosts: [{ host: 'db.example.com', port: 6432 }],
    database: 'flows',
    user: 'ann',
    password: 's@fe',
    tls: { mode: 'disable' },
    shown: 'postgresql://ann@db.example.com:6432/flows',
  });
  t.match(parseAddress('postgres://ann@[::1]/'), { hosts: [{ host: '::1', port: 5432 }], database: 'ann', tls: { mode: 'prefer' } });
  t.match(parseAddress('postgres://a@one,two:5433/x').hosts, [
    { host: 'one', port: 5432 },
    { host: 'two', port: 5433 },
  ]);
  t.match(parseAddress('postgres://a@/x?host=/run/postgresql').hosts, [{ host: '/run/postgresql', port: 5432 }]);
  t.match(
    parseAddress('postgres://a@h/x?sslmode=require&sslrootcert=ca.pem').tls,
    { mode: 'verify-ca', rootCertificate: 'ca.pem' },
    'as libpq has it',
  );
  t.notMatch(JSON.stringify(parseAddress('postgres://a:secret@h/x').shown), /secret/);
  const bad = {
    'http://h/x': /does not look like/,
    'postgres://h:0/x': /host 'h:0'/,
    'postgres://h:99999/x': /host/,
    'postgres://a%zz@h/x': /two hex digits/,
    'postgres://h/x?sslmode=maybe': /sslmode=maybe; known are disable, prefer/,
    'postgres://h/x?sslcert=c.pem': /only one of sslcert and sslkey/,
    'postgres://h/x?optoins=1': /says 'optoins', which is not known/,
  };
  for (const [url, message] of Object.entries(bad)) t.throws(() => parseAddress(url), { message }, url);
});

const server = await postgres(t);
const files = selfSigned();
const skip =
  server.skip !== false
    ? server.skip
    : !server.isOwn
      ? 'this PostgreSQL does not belong to the test'
      : files === null
        ? 'no openssl here'
        : false;
if (skip !== false) process.stderr.write(`\n*** SKIPPED: ${skip}\n\n`);

/** Connects with these words in the URL; how the connection is protected. */
async function protection(query: string, host = '127.0.0.1'): Promise<unknown> {
  const url = new URL(changed(server.url, { query }));
  url.hostname = host;
  const link = await Link.open({ address: parseAddress(url.href), name: 'test' }, 10_000);
  try {
    const [row] = await link.run('select ssl, client_dn from pg_stat_ssl where pid = pg_backend_pid()', 10_000);
    return row;
  } finally {
    await link.close();
  }
}

t.test('a server without TLS', { skip }, async (t) => {
  t.match(await protection(''), { ssl: false }, 'prefer');
  t.match(await protection('sslmode=disable'), { ssl: false });
  for (const mode of ['require', 'verify-ca', 'verify-full']) {
    await t.rejects(protection(`sslmode=${mode}`), { message: new RegExp(`offers no TLS, and sslmode=${mode} asks for it`) }, mode);
  }
});

t.test('a server with TLS', { skip }, async (t) => {
  const { key, cert } = files!;
  const other = selfSigned()!;
  const folder = t.testdir();
  const [certFile, keyFile, otherFile] = ['cert.pem', 'key.pem', 'other.pem'].map((name) => join(folder, name)) as [string, string, string];
  writeFileSync(certFile, cert);
  writeFileSync(keyFile, key);
  writeFileSync(otherFile, other.cert);
  const sql = connect(server.url);
  for (const [name, text] of [
    ['server.crt', cert],
    ['server.key', key],
    ['root.crt', cert],
  ] as const) {
    const program = `umask 077; cat > ${name}`;
    await sql.unsafe(`copy (select unnest(string_to_array('${text.trim()}', E'\\n'))) to program '${program}'`);
  }
  await sql.end({ timeout: 1 });
  await execute(server.url, `alter system set ssl_ca_file = 'root.crt'`, 'alter system set ssl = on', 'select pg_reload_conf()');
  const until = performance.now() + 10_000;
  while (((await protection('')) as { ssl: boolean }).ssl !== true && performance.now() < until);

  t.match(await protection(''), { ssl: true }, 'prefer takes it');
  t.match(await protection('sslmode=disable'), { ssl: false });
  t.match(await protection('sslmode=require'), { ssl: true, client_dn: null }, 'require looks at no certificate');
  t.match(await protection(`sslmode=verify-full&sslrootcert=${certFile}`), { ssl: true });
  t.match(await protection(`sslmode=verify-ca&sslrootcert=${certFile}`, 'localhost'), { ssl: true }, 'verify-ca looks at no name');
  await t.rejects(protection(`sslmode=verify-full&sslrootcert=${certFile}`, 'localhost'), { message: /altnames|ALTNAME/ }, 'another name');
  await t.rejects(protection(`sslmode=verify-full&sslrootcert=${otherFile}`), { message: /self-signed|SELF_SIGNED/ }, 'another authority');
  await t.rejects(protection('sslmode=verify-full'), { message: /self-signed|SELF_SIGNED/ }, 'one that nobody trusts');
  await t.rejects(protection(`sslmode=require&sslrootcert=${otherFile}`), { message: /self-signed|SELF_SIGNED/ });
  await t.rejects(protection(`sslmode=verify-ca&sslrootcert=${folder}/none.pem`), { message: /ENOENT/ });
  const client = `sslmode=verify-full&sslrootcert=${certFile}&sslcert=${certFile}&sslkey=${keyFile}`;
  t.match(await protection(client), { ssl: true, client_dn: /CN=127.0.0.1/ }, 'and we show ours');
});

t.test('several hosts: the first that takes writes', { skip }, async (t) => {
  const { port } = new URL(server.url);
  const url = server.url.replace(`127.0.0.1:${port}`, `127.0.0.1:1,127.0.0.1:${port}`);
  const link = await Link.open({ address: parseAddress(url), name: 'test' }, 10_000);
  t.match(await link.run('select 1 as one', 1_000), [{ one: 1 }]);
  await link.close();
  await t.rejects(link.run('select 1', 1_000), { name: 'NotSentError' });
});
