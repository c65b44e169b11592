// What applications do with redlock: `redlock.js HOST:PORT`. Databases of one server stand in for independent servers.
'use strict';

const { deepStrictEqual: equal, ok, rejects } = require('node:assert');
const { default: Redlock, ExecutionError, ResourceLockedError } = require('redlock');
const { connect, main, sleep, soon } = require('./common');

/** Asks once, and takes no time for differences of clocks. */
const ONCE = { retryCount: 0, driftFactor: 0 };

function locks(settings = {}, databases = [0]) {
  return new Redlock(databases.map((db) => connect({ db })), { ...ONCE, ...settings });
}

async function oneHoldsALock(redis) {
  const [first, second] = [locks(), locks()];
  const lock = await first.acquire(['a'], 10_000);
  equal(await redis.get('a'), lock.value);
  ok((await redis.pttl('a')) > 9_000);
  await rejects(second.acquire(['a'], 10_000), ExecutionError);
  await lock.release();
  equal(await redis.exists('a'), 0);
  await (await second.acquire(['a'], 10_000)).release();
}

async function severalResourcesAreLockedTogether(redis) {
  const redlock = locks();
  const lock = await redlock.acquire(['a', 'b', 'c'], 10_000);
  await rejects(redlock.acquire(['d', 'b'], 10_000), ExecutionError);
  equal(await redis.exists('a', 'b', 'c', 'd'), 3);
  await lock.release();
  equal(await redis.dbsize(), 0);
}

async function locksEnd() {
  const redlock = locks();
  await redlock.acquire(['a'], 50);
  await soon('its end', () => redlock.acquire(['a'], 10_000).catch(() => null));
}

async function locksAreExtended(redis) {
  const redlock = locks();
  const lock = await (await redlock.acquire(['a', 'b'], 200)).extend(10_000);
  ok((await redis.pttl('a')) > 9_000 && (await redis.pttl('b')) > 9_000);
  await lock.release();
  await rejects(lock.extend(10_000), /expired lock|quorum/);
}

async function nobodyReleasesTheLockOfOthers(redis) {
  const redlock = locks();
  const lock = await redlock.acquire(['a'], 10_000);
  await redis.set('a', 'of somebody else');
  await rejects(lock.release(), (error) => error instanceof ExecutionError);
  equal(await redis.get('a'), 'of somebody else');
  const failed = await redlock.acquire(['a'], 10_000).catch((error) => error);
  const [{ votesAgainst }] = await Promise.all(failed.attempts);
  ok([...votesAgainst.values()].every((error) => error instanceof ResourceLockedError));
}

async function whoWaitsGetsItLater() {
  const redlock = locks({ retryCount: -1, retryDelay: 5, retryJitter: 5 });
  const lock = await redlock.acquire(['a'], 10_000);
  const waiting = redlock.acquire(['a'], 10_000);
  await sleep(30);
  await lock.release();
  await (await waiting).release();
}

async function onlyOneAtATime(redis) {
  let [now, most, count] = [0, 0, 0];
  const work = async () => {
    const redlock = locks({ retryCount: -1, retryDelay: 2, retryJitter: 3 });
    for (let round = 0; round < 10; round += 1) {
      await redlock.using(['a', 'b'], 5_000, async () => {
        most = Math.max(most, ++now);
        const before = Number(await redis.get('counter'));
        await sleep(1);
        await redis.set('counter', before + 1);
        now -= 1;
        count += 1;
      });
    }
  };
  await Promise.all(Array.from({ length: 8 }, work));
  equal([most, count, await redis.get('counter')], [1, 80, '80']);
}

async function whatIsUsedIsExtended(redis) {
  const redlock = locks({ automaticExtensionThreshold: 60 });
  await redlock.using(['a'], 200, async (signal) => {
    await sleep(400);
    ok(!signal.aborted);
    equal(await redis.exists('a'), 1);
    await redis.del('a');
    await soon('it is told', () => signal.aborted);
    ok(signal.error instanceof ExecutionError);
  }).catch((error) => ok(error instanceof ExecutionError, error));
}

async function mostServersDecide(redis) {
  const [three, other] = [locks({}, [0, 1, 2]), connect({ db: 1 })];
  await other.set('a', 'of somebody else');
  const lock = await three.acquire(['a'], 10_000);
  const { votesFor, votesAgainst } = await lock.attempts[0];
  equal([votesFor.size, votesAgainst.size], [2, 1]);
  await rejects(locks({}, [0, 1, 2]).acquire(['a'], 10_000), /quorum/);
  await lock.release();
  equal([await redis.exists('a'), await other.get('a')], [0, 'of somebody else']);
}

async function scriptsThatWereFlushedAreSentAgain(redis) {
  const redlock = locks();
  await (await redlock.acquire(['a'], 10_000)).release();
  await redis.script('FLUSH');
  await (await redlock.acquire(['a'], 10_000)).release();
}

main([oneHoldsALock, severalResourcesAreLockedTogether, locksEnd, locksAreExtended, nobodyReleasesTheLockOfOthers,
  whoWaitsGetsItLater, onlyOneAtATime, whatIsUsedIsExtended, mostServersDecide, scriptsThatWereFlushedAreSentAgain]);
