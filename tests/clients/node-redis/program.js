// What applications do with node-redis, its fifth version and its sixth, in RESP2 and RESP3: `program.js HOST:PORT`.
//
// Ends with an exception at the first answer that is not as expected. It removes every key of the server.
'use strict';

const assert = require('node:assert');
const { setTimeout: sleep } = require('node:timers/promises');

const { ok, rejects } = assert;
const [host, port] = process.argv[2].split(':');

/** The library's versions with the protocol that each shall speak. */
const FORMS = [
  ['redis-5', 2],
  ['redis-5', 3],
  ['redis-6', 2],
  ['redis-6', 3],
];

let library;
let protocol;
const open = [];

/** Replies are objects without a prototype here and there, which is no difference. */
function equal(got, wanted) {
  assert.deepStrictEqual(plain(got), plain(wanted));
}

function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object' || Buffer.isBuffer(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, plain(part)]));
}

function options(more = {}) {
  return { socket: { host, port: Number(port) }, RESP: protocol, unstableResp3: true, ...more };
}

async function connect(more) {
  const client = library.createClient(options(more));
  client.on('error', () => {});
  await client.connect();
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

async function newEnough(client) {
  const [major, minor] = (await field(client, 'server', 'redis_version')).split('.').map(Number);
  return major > 7 || (major === 7 && minor >= 4);
}

async function collect(iterator) {
  const found = [];
  for await (const part of iterator) found.push(...part);
  return found;
}

async function strings(client) {
  equal(await client.set('k', 'v', { NX: true, PX: 100_000 }), 'OK');
  equal(await client.set('k', 'w', { NX: true }), null);
  equal([await client.set('k', 'w', { XX: true, GET: true }), await client.ttl('k')], ['v', -1]);
  equal([await client.mSet({ a: '1', b: '2' }), await client.mGet(['a', 'nothing', 'b'])], ['OK', ['1', null, '2']]);
  equal([await client.incr('n'), await client.incrBy('n', 41)], [1, 42]);
  equal(Number(await client.incrByFloat('f', 1.5)), 1.5);
  equal([await client.append('k', 'xyz'), await client.getRange('k', 1, 2)], [4, 'xy']);
  equal([await client.getDel('k'), await client.get('k')], ['wxyz', null]);
  equal([await client.exists(['a', 'a']), await client.type('a'), await client.del(['a', 'b'])], [2, 'string', 2]);
  const binary = Buffer.from(Array.from({ length: 25_600 }, (_, at) => at % 256));
  await client.set('binary', binary);
  const buffers = client.withTypeMapping({ [library.RESP_TYPES.BLOB_STRING]: Buffer });
  equal(await buffers.get('binary'), binary);
  await rejects(client.incr('binary'), /not an integer/);
  await rejects(client.lPush('n', 'x'), /WRONGTYPE/);
  await rejects(client.sendCommand(['NOSUCH', 'a']), /unknown command 'NOSUCH', with args beginning with: 'a'/);
}

async function hashes(client) {
  equal(await client.hSet('h', { a: '1', b: 'two' }), 2);
  equal(await client.hGetAll('h'), { a: '1', b: 'two' });
  equal([await client.hmGet('h', ['a', 'nothing']), await client.hIncrBy('h', 'a', 5)], [['1', null], 6]);
  equal([await client.hDel('h', ['b', 'nothing']), await client.hLen('h'), await client.hKeys('h')], [1, 1, ['a']]);
  equal(await client.hRandFieldCountWithValues('h', 2), [{ field: 'a', value: '6' }]);
  await client.hSet('large', Object.fromEntries(Array.from({ length: 1000 }, (_, at) => [`field:${at}`, String(at)])));
  equal((await collect(client.hScanIterator('large', { COUNT: 100 }))).length, 1000);
  if (!(await newEnough(client))) return;
  await client.hSet('h', 'f', 1);
  equal(await client.hpExpire('h', ['f', 'nothing'], 1), [1, -2]);
  await soon('a field that expires', async () => (await client.hGet('h', 'f')) === null);
  equal([await client.hExpire('h', 'a', 100, 'NX'), await client.hPersist('h', ['a'])], [[1], [1]]);
  equal([await client.hTTL('h', 'a'), (await collect(client.hScanNoValuesIterator('h')))], [[-1], ['a']]);
}

async function lists(client) {
  equal([await client.rPush('l', ['a', 'b', 'c']), await client.lPush('l', 'z')], [3, 4]);
  equal([await client.lRange('l', 0, -1), await client.lPos('l', 'b')], [['z', 'a', 'b', 'c'], 2]);
  equal([await client.lMove('l', 'm', 'LEFT', 'RIGHT'), await client.lPopCount('l', 2)], ['z', ['a', 'b']]);
  const second = await connect();
  const job = { key: 'q', element: 'job' };
  const push = () => client.rPush('q', 'job');
  equal(await waits(client, () => second.blPop(['other', 'q'], 20), push), job);
  equal(await waits(client, () => second.blMove('q', 'done', 'LEFT', 'LEFT', 20), push), 'job');
  equal(await waits(client, () => second.blmPop(20, 'q', 'LEFT'), push), ['q', ['job']]);
  equal(await second.brPop('q', 0.01), null);
}

async function sets(client) {
  equal([await client.sAdd('s', ['a', 'b', 'c']), await client.sAdd('t', ['b', 'c', 'd'])], [3, 3]);
  equal([[...(await client.sMembers('s'))].sort(), await client.sInterCard(['s', 't'])], [['a', 'b', 'c'], 2]);
  equal([[...(await client.sDiff(['s', 't']))], await client.sUnionStore('u', ['s', 't'])], [['a'], 4]);
  equal((await client.smIsMember('s', ['a', 'd'])).map(Boolean), [true, false]);
  equal([[...(await client.sPopCount('u', 4))].sort(), await client.exists('u')], [['a', 'b', 'c', 'd'], 0]);
  await client.sAdd('numbers', Array.from({ length: 2000 }, (_, at) => String(at)));
  equal(new Set(await collect(client.sScanIterator('numbers', { COUNT: 100 }))).size, 2000);
}

async function sortedSets(client) {
  const three = [{ value: 'a', score: 1 }, { value: 'b', score: 2.5 }, { value: 'c', score: Infinity }];
  equal(await client.zAdd('z', three), 3);
  equal(await client.zRangeWithScores('z', 0, -1), three);
  equal([await client.zScore('z', 'b'), await client.zIncrBy('z', 1.5, 'a')], [2.5, 2.5]);
  equal(await client.zRange('z', '+inf', '(2', { BY: 'SCORE', REV: true, LIMIT: { offset: 0, count: 2 } }), ['c', 'b']);
  equal([await client.zRank('z', 'c'), await client.zRank('z', 'no'), await client.zCount('z', 2, 3)], [2, null, 2]);
  equal(await client.zUnionStore('y', [{ key: 'z', weight: 2 }]), 3);
  equal(await client.zmScore('y', ['a', 'x']), [5, null]);
  equal([await client.zInter(['z', 'y']), await client.zRemRangeByScore('y', 0, 5)], [['a', 'b', 'c'], 2]);
  equal(await client.zPopMin('z'), { value: 'a', score: 2.5 });
  const second = await connect();
  const first = { key: 'queue', value: 'm', score: 3 };
  const add = () => client.zAdd('queue', { value: 'm', score: 3 });
  equal(await waits(client, () => second.bzPopMin('queue', 20), add), first);
  await client.zAdd('large', Array.from({ length: 1000 }, (_, at) => ({ value: `m${at}`, score: at })));
  equal((await collect(client.zScanIterator('large', { COUNT: 100 }))).length, 1000);
}

/** The messages of one stream from what XREADGROUP answers; the fifth version leaves those of RESP3 as they come. */
function messages(reply, key) {
  const found = Array.isArray(reply) ? reply.find((stream) => stream.name === key).messages : reply[key];
  return found.map((entry) => (Array.isArray(entry) ? [entry[0], pairs(entry[1])] : [entry.id, entry.message]));
}

function pairs(flat) {
  return Object.fromEntries(flat.map((name, at) => [name, flat[at + 1]]).filter((_, at) => at % 2 === 0));
}

async function streams(client) {
  for (const number of ['1', '2', '3']) equal(await client.xAdd('x', `${number}-1`, { field: number }), `${number}-1`);
  equal((await client.xRange('x', '2', '+', { COUNT: 1 }))[0].message, { field: '2' });
  equal(await client.xGroupCreate('x', 'group', '0'), 'OK');
  await rejects(client.xGroupCreate('x', 'group', '0'), /BUSYGROUP/);
  const from = [{ key: 'x', id: '>' }];
  const got = await client.xReadGroup('group', 'ann', from, { COUNT: 2 });
  equal(messages(got, 'x'), [['1-1', { field: '1' }], ['2-1', { field: '2' }]]);
  equal(await client.xAck('x', 'group', '1-1'), 1);
  const pending = await client.xPending('x', 'group');
  equal([pending.pending, pending.consumers], [1, [{ name: 'ann', deliveriesCounter: 1 }]]);
  equal((await client.xPendingRange('x', 'group', '-', '+', 10))[0].id, '2-1');
  equal(await client.xClaimJustId('x', 'group', 'bob', 0, '2-1'), ['2-1']);
  equal((await client.xAutoClaim('x', 'group', 'cid', 0, '-')).messages[0].message, { field: '2' });
  equal((await client.xInfoGroups('x'))[0].consumers, 3);
  equal([(await client.xInfoStream('x')).length, (await client.xInfoConsumers('x', 'group')).length], [3, 3]);
  const second = await connect();
  const read = () => second.xReadGroup('group', 'ann', from, { BLOCK: 20_000 });
  equal(messages(await read(), 'x').length, 1);
  const late = await waits(client, read, () => client.xAdd('x', '9-0', { late: '1' }));
  equal(messages(late, 'x'), [['9-0', { late: '1' }]]);
  equal(await second.xRead({ key: 'x', id: '$' }, { BLOCK: 1 }), null);
  equal([await client.xDel('x', '1-1'), await client.xTrim('x', 'MAXLEN', 1), await client.xLen('x')], [1, 2, 1]);
}

async function bitsAndSketches(client) {
  equal([await client.setBit('bits', 7, 1), await client.getBit('bits', 7), await client.bitCount('bits')], [0, 1, 1]);
  equal([await client.bitPos('bits', 1), await client.bitOp('NOT', 'inverse', 'bits')], [7, 1]);
  equal(await client.bitField('field', [{ operation: 'SET', encoding: 'u8', offset: '#1', value: 200 }]), [0]);
  await client.pfAdd('p', Array.from({ length: 1000 }, (_, at) => String(at)));
  ok(Math.abs((await client.pfCount('p')) - 1000) < 30);
  const places = [
    { longitude: 13.361389, latitude: 38.115556, member: 'Palermo' },
    { longitude: 15.087269, latitude: 37.502669, member: 'Catania' },
  ];
  equal(await client.geoAdd('geo', places), 2);
  equal(Number(await client.geoDist('geo', 'Palermo', 'Catania', 'km')), 166.2742);
  const circle = { radius: 200, unit: 'km' };
  const centre = { longitude: 15, latitude: 37 };
  equal(await client.geoSearch('geo', centre, circle, { SORT: 'ASC' }), ['Catania', 'Palermo']);
  const found = await client.geoSearchWith('geo', 'Palermo', circle, ['WITHDIST', 'WITHCOORD'], { SORT: 'DESC' });
  equal(found.map(({ member, distance }) => [member, Number(distance)]), [['Catania', 166.2742], ['Palermo', 0]]);
  const positions = await client.geoPos('geo', ['Palermo', 'no']);
  equal(positions.map((place) => place && Number(place.latitude).toFixed(4)), ['38.1156', null]);
}

async function publishAndSubscribe(client) {
  const subscriber = await connect();
  const seen = [];
  await subscriber.subscribe('news', (text, channel) => seen.push([channel, text]));
  await subscriber.pSubscribe('n*', (text, channel) => seen.push(['n*', channel, text]));
  equal([await client.publish('news', 'hello'), await client.pubSubNumSub(['news'])], [2, { news: 1 }]);
  await soon('two messages', () => seen.length === 2);
  equal(seen, [['news', 'hello'], ['n*', 'news', 'hello']]);
  if (protocol === 3) equal(await subscriber.get('nothing'), null);
  // It subscribes anew by itself after it has lost its connection.
  await client.sendCommand(['CLIENT', 'KILL', 'TYPE', 'pubsub']);
  await soon('a subscription again', async () => (await client.publish('news', 'again')) === 2);
  await soon('the message', () => seen.length >= 4);
  await subscriber.unsubscribe('news');
  await subscriber.pUnsubscribe();
  await client.configSet('notify-keyspace-events', 'Ex');
  const expired = [];
  await subscriber.subscribe('__keyevent@0__:expired', (key) => expired.push(key));
  await client.set('fleeting', 'v', { PX: 1 });
  await soon('an event', () => expired[0] === 'fleeting');
  await client.configSet('notify-keyspace-events', '');
}

async function pipelinesAndTransactions(client) {
  // Calls that are made in one turn go out as one pipeline.
  equal((await Promise.all(Array.from({ length: 1000 }, () => client.incr('many')))).at(-1), 1000);
  equal(await client.multi().set('a', '1').incr('a').get('a').exec(), ['OK', 2, '2']);
  equal((await client.multi().incr('a').get('a').execAsPipeline())[1], '3');
  await rejects(client.multi().lPush('a', 'x').exec(), (error) => /WRONGTYPE/.test(error.replies[0].message));
  const other = await connect();
  await client.watch('a');
  await other.incr('a');
  await rejects(client.multi().set('a', '0').exec(), library.WatchError);
  await client.watch('a');
  equal(await client.multi().incrBy('a', 10).exec(), [14]);
  const isolated = await connect({ name: 'isolated' });
  equal(await isolated.duplicate().connect().then((twin) => (open.push(twin), twin.clientGetName())), 'isolated');
}

async function scans(client) {
  await client.mSet(Array.from({ length: 3000 }, (_, at) => [`key:${at}`, String(at)]));
  equal(new Set(await collect(client.scanIterator({ MATCH: 'key:*', COUNT: 500 }))).size, 3000);
  equal([await client.dbSize(), (await client.keys('key:1??')).length], [3000, 100]);
  const other = await connect({ database: 3 });
  equal([await client.move('key:1', 3), await other.get('key:1'), await other.flushDb()], [1, '1', 'OK']);
}

async function clientsAndUsers(client) {
  const named = await connect({ name: 'worker', clientInfoTag: 'app' });
  const me = await named.clientInfo();
  equal(me.name, 'worker');
  if (await newEnough(client)) ok(/node-redis\(app\)/.test(me.libName) && me.resp === protocol, JSON.stringify(me));
  equal(await client.clientKill({ filter: 'ID', id: me.id }), 1);
  await soon('another connection', async () => (await named.clientId().catch(() => 0)) > me.id);
  equal([await named.clientGetName(), await named.ping()], ['worker', 'PONG']);
  await client.aclSetUser('ann', ['on', '>secret', '~app:*', '+@read', '+set', '+@connection']);
  const ann = await connect({ username: 'ann', password: 'secret' });
  equal([await ann.set('app:k', 'v'), await ann.get('app:k')], ['OK', 'v']);
  await rejects(ann.get('k'), /NOPERM/);
  await rejects(ann.del('app:k'), /NOPERM .* 'del'/);
  const once = { host, port: Number(port), reconnectStrategy: false };
  await rejects(connect({ username: 'ann', password: 'wrong', socket: once }), /WRONGPASS/);
  equal([(await client.aclGetUser('ann')).keys, await client.aclDelUser('ann')], ['~app:*', 1]);
}

async function pool(client) {
  const shared = library.createClientPool(options(), { minimum: 2, maximum: 5 });
  shared.on('error', () => {});
  await shared.connect();
  await Promise.all(Array.from({ length: 500 }, () => shared.incr('pooled')));
  equal(await shared.execute((own) => own.get('pooled')), '500');
  await client.sendCommand(['CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes']);
  await soon('connections again', async () => (await shared.get('pooled').catch(() => null)) === '500');
  shared.destroy();
}

async function caching(client) {
  if (protocol !== 3) return;
  const cache = new library.BasicClientSideCache({ ttl: 0, maxEntries: 100, evictPolicy: 'LRU' });
  const cached = await connect({ clientSideCache: cache });
  await client.set('cached', '1');
  equal([await cached.get('cached'), await cached.get('cached')], ['1', '1']);
  equal([cache.stats().hitCount, cache.stats().missCount], [1, 1]);
  await client.set('cached', '2');
  await soon('an invalidation', async () => (await cached.get('cached')) === '2');
}

async function server(client) {
  equal([await field(client, 'replication', 'role'), (await field(client, 'server', 'run_id')).length], ['master', 40]);
  equal(await client.configGet('maxmemory-policy'), { 'maxmemory-policy': 'noeviction' });
  equal([(await client.commandCount()) > 100, await client.commandGetKeys(['GET', 'a'])], [true, ['a']]);
  await client.set('n', '1');
  equal([await client.objectEncoding('n'), (await client.memoryUsage('n')) > 0], ['int', true]);
  const watching = await connect();
  const seen = [];
  await watching.monitor((line) => seen.push(line));
  await client.set('watched', 'v');
  await soon('the command', () => seen.some((line) => line.endsWith('"SET" "watched" "v"')));
}

const PARTS = [strings, hashes, lists, sets, sortedSets, streams, bitsAndSketches, publishAndSubscribe,
  pipelinesAndTransactions, scans, clientsAndUsers, pool, caching, server];

async function main() {
  for (const [name, version] of FORMS) {
    [library, protocol] = [require(name), version];
    for (const part of PARTS) {
      const client = await connect();
      await client.flushAll();
      await part(client);
      open.splice(0).forEach((each) => each.destroy());
      console.log(`${name} ${part.name}: as expected in RESP${protocol}`);
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
