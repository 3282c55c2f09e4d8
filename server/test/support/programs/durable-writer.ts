/**
 * The smallest program that acknowledges what it stores: POST inserts a row and answers 202 with its
 * id; GET ends it, since a tracer keeps signals from it. Its second argument says how it treats its disk; only FULL is right. For the tests of the power-loss
 * tool, which must find that the others lose what they acknowledged.
 */
import { createServer } from 'node:http';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

const [folder = '', synchronous = ''] = process.argv.slice(2);
const database = new DatabaseSync(join(folder, 'rows.db'));
database.exec('PRAGMA journal_mode = WAL');
database.exec('CREATE TABLE row (id INTEGER PRIMARY KEY, filler TEXT NOT NULL) STRICT');
database.exec(`PRAGMA synchronous = ${synchronous}; PRAGMA wal_autocheckpoint = 20`);
const insert = database.prepare('INSERT INTO row (filler) VALUES (?)');

const server = createServer((request, response) => {
  if (request.method === 'GET') process.exit(0);
  request.resume();
  request.on('end', () => {
    const { lastInsertRowid } = insert.run('x'.repeat(500));
    const body = JSON.stringify({ id: `row-${lastInsertRowid}` });
    response.writeHead(202, { 'content-length': body.length }).end(body);
  });
});
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify(server.address())}\n`);
});
