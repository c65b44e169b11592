// What the programs of this folder share: each is `program.js HOST:PORT`, ends with an exception at the first answer that is
// not as expected, and removes every key of the server.
'use strict';

const { ok } = require('node:assert');
const { setTimeout: sleep } = require('node:timers/promises');
const { Redis } = require('ioredis');

const [host, port] = process.argv[2].split(':');
const address = { host, port: Number(port) };
const open = [];

/** A connection that is closed after the part that opened it. */
function connect(options = {}) {
  return closed(new Redis({ ...address, ...options }));
}

/** Has `close` or `disconnect` of a thing called after the part that made it, the newest first. */
function closed(thing) {
  open.push(thing);
  return thing;
}

async function soon(what, condition) {
  const until = Date.now() + 20_000;
  for (;;) {
    const found = await condition();
    if (found) return found;
    ok(Date.now() < until, `not in time: ${what}`);
    await sleep(10);
  }
}

async function run(parts) {
  for (const part of parts) {
    const redis = connect();
    await redis.flushall();
    await part(redis);
    for (const thing of open.splice(0).reverse()) await (thing.close ? thing.close() : thing.disconnect());
    console.log(`${part.name}: as expected`);
  }
}

/** It ends at once: a client that was closed while it connected anew may keep the process. */
function main(parts) {
  run(parts).then(
    () => process.exit(0),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
}

module.exports = { address, closed, connect, main, sleep, soon };
