// What applications do with ioredis, its fifth version and its sixth, in RESP2 and RESP3: `program.js HOST:PORT`.
//
// Ends with an exception at the first answer that is not as expected. It removes every key of the server.
'use strict';

const { deepStrictEqual: equal, ok, rejects } = require('node:assert');
const { setTimeout: sleep } = require('node:timers/promises');

const [host, port] = process.argv[2].split(':');

/** The library's versions with the protocol that each shall speak; the fifth knows RESP2 only. */
const FORMS = [
  ['ioredis-5', {}],
  ['ioredis-6', { protocol: 2 }],
  ['ioredis-6', { protocol: 3 }],
];

let Redis;
let form;
const open = [];

function connect(options = {}) {
  const client = new Redis({ host, port: Number(port), ...form, ...options });
  open.push(client);
  return client;
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

async function field(client, section, name) {
  const text = await client.info(section);
  return text.match(new RegExp(`^${name}:(.*)\r$`, 'm'))[1];
}

/** What `call` answers on a connection that has to wait until `wake` is called. */
async function waits(client, call, wake) {
  const blocked = async () => Number(await field(client, 'clients', 'blocked_clients'));
  const before = await blocked();
  const answer = call();
  await soon('a client that waits', async () => (await blocked()) === before + 1);
  await wake();
  return answer;
}

function members(flat) {
  return Object.fromEntries(flat.map((value, at) => [value, flat[at + 1]]).filter((_, at) => at % 2 === 0));
}

async function strings(redis) {
  equal(await redis.set('k', 'v', 'PX', 100_000, 'NX'), 'OK');
  equal(await redis.set('k', 'w', 'NX'), null);
  equal(await redis.getset('k', 'w'), 'v');
  ok((await redis.ttl('k')) === -1);
  equal(await redis.mset({ a: 1, b: 2 }), 'OK');
  equal(await redis.mget('a', 'nothing', 'b'), ['1', null, '2']);
  equal([await redis.incr('n'), await redis.incrby('n', 41), await redis.incrbyfloat('f', 1.5)], [1, 42, '1.5']);
  equal([await redis.append('k', 'xyz'), await redis.getrange('k', 1, 2), await redis.getdel('k')], [4, 'xy', 'wxyz']);
  equal([await redis.exists('a', 'a'), await redis.type('a'), await redis.del('a', 'b')], [2, 'string', 2]);
  const binary = Buffer.from(Array.from({ length: 25_600 }, (_, at) => at % 256));
  await redis.set('binary', binary);
  equal(await redis.getBuffer('binary'), binary);
  await rejects(redis.incr('binary'), /not an integer/);
  await rejects(redis.lpush('n', 'x'), /^ReplyError: WRONGTYPE/);
  await rejects(redis.call('NOSUCH', 'a'), /unknown command 'NOSUCH', with args beginning with: 'a'/);
}

async function hashes(redis) {
  equal(await redis.hset('h', { a: 1, b: 'two' }), 2);
  equal(await redis.hgetall('h'), { a: '1', b: 'two' });
  equal(await redis.hmget('h', 'a', 'nothing'), ['1', null]);
  equal([await redis.hincrby('h', 'a', 5), await redis.hincrbyfloat('h', 'f', 0.25)], [6, '0.25']);
  equal([await redis.hdel('h', 'b', 'nothing'), await redis.hlen('h'), await redis.hexists('h', 'f')], [1, 2, 1]);
  equal((await redis.hkeys('h')).sort(), ['a', 'f']);
  await redis.hset('large', new Map(Array.from({ length: 1000 }, (_, at) => [`field:${at}`, at])));
  const found = [];
  for await (const part of redis.hscanStream('large', { count: 100 })) found.push(...part);
  equal(Object.keys(members(found)).length, 1000);
  if (!(await newEnough(redis))) return;
  equal(await redis.hpexpire('h', 1, 'FIELDS', 2, 'f', 'nothing'), [1, -2]);
  await soon('a field that expires', async () => (await redis.hget('h', 'f')) === null);
  equal(await redis.hexpire('h', 100, 'FIELDS', 1, 'a'), [1]);
  ok((await redis.httl('h', 'FIELDS', 1, 'a'))[0] > 90);
  equal(await redis.hpersist('h', 'FIELDS', 1, 'a'), [1]);
}

async function lists(redis) {
  equal([await redis.rpush('l', 'a', 'b', 'c'), await redis.lpush('l', 'z')], [3, 4]);
  equal(await redis.lrange('l', 0, -1), ['z', 'a', 'b', 'c']);
  equal([await redis.lpos('l', 'b'), await redis.linsert('l', 'BEFORE', 'c', 'x')], [2, 5]);
  equal([await redis.lrem('l', 0, 'z'), await redis.llen('l')], [1, 4]);
  equal([await redis.lmove('l', 'm', 'LEFT', 'RIGHT'), await redis.lpop('l', 2)], ['a', ['b', 'x']]);
  const second = connect();
  equal(await waits(redis, () => second.blpop('other', 'q', 20), () => redis.rpush('q', 'job')), ['q', 'job']);
  equal(await waits(redis, () => second.brpoplpush('q', 'done', 20), () => redis.rpush('q', 'job')), 'job');
  equal(await waits(redis, () => second.blmpop(20, 1, 'q', 'LEFT'), () => redis.rpush('q', 'job')), ['q', ['job']]);
  equal(await second.brpop('q', 0.01), null);
}

async function sets(redis) {
  equal([await redis.sadd('s', 'a', 'b', 'c'), await redis.sadd('t', 'b', 'c', 'd')], [3, 3]);
  equal((await redis.sinter('s', 't')).sort(), ['b', 'c']);
  equal([await redis.sdiff('s', 't'), await redis.sunionstore('u', 's', 't')], [['a'], 4]);
  equal([await redis.sismember('s', 'a'), await redis.smismember('s', 'a', 'd')], [1, [1, 0]]);
  equal([(await redis.spop('u', 4)).sort(), await redis.exists('u')], [['a', 'b', 'c', 'd'], 0]);
  await redis.sadd('numbers', ...Array(2000).keys());
  const found = new Set();
  for await (const part of redis.sscanStream('numbers', { count: 100 })) part.forEach((member) => found.add(member));
  equal(found.size, 2000);
}

async function sortedSets(redis) {
  equal(await redis.zadd('z', 1, 'a', 2.5, 'b', '+inf', 'c'), 3);
  equal([await redis.zscore('z', 'b'), await redis.zincrby('z', 1.5, 'a')], ['2.5', '2.5']);
  equal(members((await redis.zrange('z', 0, -1, 'WITHSCORES')).flat()), { a: '2.5', b: '2.5', c: 'inf' });
  equal(await redis.zrange('z', '+inf', '(2', 'BYSCORE', 'REV', 'LIMIT', 0, 2), ['c', 'b']);
  equal([await redis.zrank('z', 'c'), await redis.zrank('z', 'nothing'), await redis.zcount('z', 2, 3)], [2, null, 2]);
  equal([await redis.zunionstore('y', 1, 'z', 'WEIGHTS', 2), await redis.zmscore('y', 'a', 'x')], [3, ['5', null]]);
  equal([await redis.zinter(2, 'z', 'y'), await redis.zremrangebyscore('y', 0, 5)], [['a', 'b', 'c'], 2]);
  equal((await redis.zpopmin('z')).flat(), ['a', '2.5']);
  const second = connect();
  equal(await waits(redis, () => second.bzpopmin('queue', 20), () => redis.zadd('queue', 3, 'm')), ['queue', 'm', '3']);
  await redis.zadd('large', ...Array.from({ length: 1000 }, (_, at) => [at, `m${at}`]).flat());
  const found = [];
  for await (const part of redis.zscanStream('large', { count: 100 })) found.push(...part);
  equal(members(found.flat()).m999, '999');
}

/** The entries of one stream from what XREAD answers: pairs, or one flat list where maps come as such. */
function entries(reply) {
  return Array.isArray(reply[0]) ? reply[0][1] : reply[1];
}

async function streams(redis) {
  for (const number of [1, 2, 3]) equal(await redis.xadd('x', `${number}-1`, 'field', number), `${number}-1`);
  equal(await redis.xrange('x', 2, '+', 'COUNT', 1), [['2-1', ['field', '2']]]);
  equal(await redis.xgroup('CREATE', 'x', 'group', 0), 'OK');
  await rejects(redis.xgroup('CREATE', 'x', 'group', 0), /BUSYGROUP/);
  const got = await redis.xreadgroup('GROUP', 'group', 'ann', 'COUNT', 2, 'STREAMS', 'x', '>');
  equal(entries(got), [['1-1', ['field', '1']], ['2-1', ['field', '2']]]);
  equal(await redis.xack('x', 'group', '1-1'), 1);
  equal(await redis.xpending('x', 'group'), [1, '2-1', '2-1', [['ann', '1']]]);
  equal(await redis.xclaim('x', 'group', 'bob', 0, '2-1', 'JUSTID'), ['2-1']);
  equal((await redis.xautoclaim('x', 'group', 'cid', 0, '-'))[1], [['2-1', ['field', '2']]]);
  equal(members(await redis.xinfo('STREAM', 'x')).length, 3);
  const second = connect();
  const read = () => second.xreadgroup('GROUP', 'group', 'ann', 'BLOCK', 20_000, 'STREAMS', 'x', '>');
  equal(entries(await read()).length, 1);
  equal(entries(await waits(redis, read, () => redis.xadd('x', '9-0', 'late', 1))), [['9-0', ['late', '1']]]);
  equal([await redis.xdel('x', '1-1'), await redis.xtrim('x', 'MAXLEN', 1), await redis.xlen('x')], [1, 2, 1]);
}

async function bitsAndSketches(redis) {
  equal([await redis.setbit('bits', 7, 1), await redis.getbit('bits', 7), await redis.bitcount('bits')], [0, 1, 1]);
  equal([await redis.bitpos('bits', 1), await redis.bitop('NOT', 'inverse', 'bits')], [7, 1]);
  const overflow = ['SET', 'u8', '#1', 200, 'OVERFLOW', 'FAIL', 'INCRBY', 'u8', '#1', 100];
  equal(await redis.bitfield('field', ...overflow), [0, null]);
  await redis.pfadd('p', ...Array(1000).keys());
  ok(Math.abs((await redis.pfcount('p')) - 1000) < 30);
  equal(await redis.geoadd('geo', 13.361389, 38.115556, 'Palermo', 15.087269, 37.502669, 'Catania'), 2);
  equal(await redis.geodist('geo', 'Palermo', 'Catania', 'km'), '166.2742');
  const near = ['FROMLONLAT', 15, 37, 'BYRADIUS', 200, 'km', 'ASC', 'WITHDIST'];
  equal(await redis.geosearch('geo', ...near), [['Catania', '56.4413'], ['Palermo', '190.4424']]);
  const places = await redis.geopos('geo', 'Palermo', 'nothing');
  equal(places.map((place) => place && Number(place[0]).toFixed(4)), ['13.3614', null]);
}

async function publishAndSubscribe(redis) {
  const subscriber = connect();
  const seen = [];
  subscriber.on('message', (channel, text) => seen.push([channel, text]));
  subscriber.on('pmessage', (pattern, channel, text) => seen.push([pattern, channel, text]));
  equal([await subscriber.subscribe('news', 'other'), await subscriber.psubscribe('n*')], [2, 3]);
  equal([await redis.publish('news', 'hello'), await redis.pubsub('NUMSUB', 'news')], [2, ['news', 1]]);
  await soon('two messages', () => seen.length === 2);
  equal(seen, [['news', 'hello'], ['n*', 'news', 'hello']]);
  equal(await subscriber.unsubscribe('other'), 2);
  // It subscribes anew by itself after it has lost its connection.
  await redis.client('KILL', 'TYPE', 'pubsub');
  await soon('a subscription again', async () => (await redis.publish('news', 'again')) === 2);
  await soon('the message', () => seen.length >= 4);
}

async function pipelinesAndTransactions(redis) {
  const pipeline = redis.pipeline();
  for (let number = 0; number < 1000; number++) pipeline.incr('many').lpush('listed', number);
  equal((await pipeline.exec()).at(-1), [null, 1000]);
  const results = await redis.multi().set('a', 1).incr('a').lpush('a', 'x').get('a').exec();
  equal([results[1], results[3]], [[null, 2], [null, '2']]);
  ok(/WRONGTYPE/.test(results[2][0].message));
  const [watching, other] = [connect(), connect()];
  await watching.watch('a');
  await other.incr('a');
  equal(await watching.multi().set('a', 0).exec(), null);
  await watching.watch('a');
  equal(await watching.multi().incrby('a', 10).exec(), [[null, 13]]);
  await rejects(redis.multi().call('NOSUCH').exec(), /EXECABORT/);
  const piped = connect({ enableAutoPipelining: true });
  equal((await Promise.all(Array.from({ length: 100 }, () => piped.incr('auto')))).at(-1), 100);
}

async function scans(redis) {
  await redis.mset(Object.fromEntries(Array.from({ length: 3000 }, (_, at) => [`key:${at}`, at])));
  const found = new Set();
  for await (const keys of redis.scanStream({ match: 'key:*', count: 500 })) keys.forEach((key) => found.add(key));
  equal([found.size, await redis.dbsize(), (await redis.keys('key:1??')).length], [3000, 3000, 100]);
  const other = connect({ db: 3 });
  equal([await redis.move('key:1', 3), await other.get('key:1'), await other.flushdb()], [1, '1', 'OK']);
  const prefixed = connect({ keyPrefix: 'app:' });
  await prefixed.set('k', 'v');
  equal(await redis.get('app:k'), 'v');
}

async function clientsAndUsers(redis) {
  const named = connect({ connectionName: 'worker' });
  const id = await named.client('ID');
  equal(await named.client('GETNAME'), 'worker');
  const me = await named.client('INFO');
  if (await newEnough(redis)) ok(/lib-name=ioredis/.test(me) && /lib-ver=\d/.test(me), me);
  equal(await redis.client('KILL', 'ID', id), 1);
  equal([await named.ping(), await named.client('GETNAME'), (await named.client('ID')) > id], ['PONG', 'worker', true]);
  await redis.acl('SETUSER', 'ann', 'on', '>secret', '~app:*', '+@read', '+set', '+info', '+client', '+hello');
  const ann = connect({ username: 'ann', password: 'secret' });
  equal([await ann.set('app:k', 'v'), await ann.get('app:k')], ['OK', 'v']);
  await rejects(ann.get('k'), /NOPERM/);
  await rejects(ann.del('app:k'), /NOPERM .* 'del'/);
  const wrong = connect({ username: 'ann', password: 'wrong', lazyConnect: true, retryStrategy: () => null });
  wrong.on('error', () => {});
  await rejects(wrong.connect().then(() => wrong.get('app:k')), /WRONGPASS|NOAUTH|NOPERM|Connection is closed/);
  equal(await redis.acl('DELUSER', 'ann'), 1);
}

/** Invalidation as applications do it with this library: messages to a second connection. */
async function tracking(redis) {
  const [reader, listener] = [connect({ protocol: 2 }), connect({ protocol: 2 })];
  const seen = [];
  listener.on('message', (channel, keys) => seen.push(keys));
  const target = await listener.client('ID');
  await listener.subscribe('__redis__:invalidate');
  equal(await reader.client('TRACKING', 'ON', 'REDIRECT', target), 'OK');
  equal(await reader.get('cached'), null);
  await redis.set('cached', 'v');
  await soon('an invalidation', () => seen.length === 1);
  equal([await reader.client('GETREDIR'), [seen[0]].flat().join()], [target, 'cached']);
  await redis.config('SET', 'notify-keyspace-events', 'Ex');
  const events = connect();
  const expired = [];
  events.on('message', (_, key) => expired.push(key));
  await events.subscribe('__keyevent@0__:expired');
  await redis.set('fleeting', 'v', 'PX', 1);
  await soon('an event', () => expired[0] === 'fleeting');
  await redis.config('SET', 'notify-keyspace-events', '');
}

async function server(redis) {
  equal([await field(redis, 'replication', 'role'), (await field(redis, 'server', 'run_id')).length], ['master', 40]);
  equal(await redis.config('GET', 'maxmemory-policy'), ['maxmemory-policy', 'noeviction']);
  equal([await redis.command('COUNT') > 100, await redis.object('ENCODING', 'nothing')], [true, null]);
  const monitor = await redis.monitor();
  open.push(monitor);
  const seen = [];
  monitor.on('monitor', (_, args) => seen.push(args.join(' ')));
  await redis.set('watched', 'v');
  await soon('the command', () => seen.includes('set watched v'));
}

async function newEnough(redis) {
  const [major, minor] = (await field(redis, 'server', 'redis_version')).split('.').map(Number);
  return major > 7 || (major === 7 && minor >= 4);
}

const PARTS = [strings, hashes, lists, sets, sortedSets, streams, bitsAndSketches, publishAndSubscribe,
  pipelinesAndTransactions, scans, clientsAndUsers, tracking, server];

async function main() {
  for (const [library, options] of FORMS) {
    Redis = require(library);
    form = options;
    for (const part of PARTS) {
      const redis = connect();
      await redis.flushall();
      await part(redis);
      open.splice(0).forEach((client) => client.disconnect());
      console.log(`${library} ${JSON.stringify(options)} ${part.name}: as expected`);
    }
  }
}

// It ends at once: a client that was closed while it connected anew may keep the process.
main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
