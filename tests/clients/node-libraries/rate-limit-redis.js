// What applications do with rate-limit-redis, behind express and by itself: `rate-limit-redis.js HOST:PORT`.
'use strict';

const { deepStrictEqual: equal, ok } = require('node:assert');
const express = require('express');
const { rateLimit } = require('express-rate-limit');
const { RedisStore } = require('rate-limit-redis');
const { closed, connect, main, sleep, soon } = require('./common');

async function store(redis, options = {}, windowMs = 60_000) {
  const made = new RedisStore({ sendCommand: (...words) => redis.call(...words), ...options });
  await made.init({ windowMs });
  return made;
}

/** A server with a limit; gives what asks it once. */
async function serve(redis, options) {
  const app = express();
  const [limiter, name] = [rateLimit({ standardHeaders: 'draft-8', ...options, store: await store(redis) }), 'x-user'];
  app.use(limiter);
  app.get('/', (_, answer) => answer.send('hello'));
  const server = await new Promise((resolve) => {
    const listening = app.listen(0, '127.0.0.1', () => resolve(listening));
  });
  closed({ close: () => new Promise((resolve) => server.close(resolve)) });
  const ask = (user) => fetch(`http://127.0.0.1:${server.address().port}/`, { headers: { [name]: user, connection: 'close' } });
  return { ask, limiter };
}

const USER = { keyGenerator: (request) => request.headers['x-user'], windowMs: 60_000 };

async function hitsAreCounted(redis) {
  const counter = await store(redis);
  for (const number of [1, 2, 3]) {
    const { totalHits, resetTime } = await counter.increment('ann');
    equal(totalHits, number);
    ok(Math.abs(resetTime - Date.now() - 60_000) < 5_000, resetTime);
  }
  equal((await counter.increment('bob')).totalHits, 1);
  equal((await counter.get('ann')).totalHits, 3);
  equal(Number(await redis.get('rl:ann')), 3);
  ok((await redis.pttl('rl:ann')) > 55_000);
}

async function hitsAreTakenBack(redis) {
  const counter = await store(redis, { prefix: 'limits:' });
  await counter.increment('ann');
  await counter.increment('ann');
  await counter.decrement('ann');
  equal((await counter.get('ann')).totalHits, 1);
  await counter.resetKey('ann');
  equal([await redis.exists('limits:ann'), (await counter.increment('ann')).totalHits], [0, 1]);
}

async function windowsEnd(redis) {
  const counter = await store(redis, {}, 80);
  await counter.increment('ann');
  const { resetTime } = await counter.increment('ann');
  await soon('its end', async () => (await redis.exists('rl:ann')) === 0);
  ok(Date.now() >= resetTime.getTime() - 20, 'not before its time');
  equal((await counter.increment('ann')).totalHits, 1);
}

async function noHitStartsAnotherWindow(redis) {
  const counter = await store(redis, {}, 300);
  const first = (await counter.increment('ann')).resetTime;
  await sleep(100);
  ok(Math.abs((await counter.increment('ann')).resetTime - first) < 30);
}

async function hitsAtOnceAreAllCounted(redis) {
  const counters = await Promise.all([1, 2, 3].map(() => store(connect())));
  const hits = await Promise.all(Array.from({ length: 300 }, (_, at) => counters[at % 3].increment('ann')));
  equal(hits.map(({ totalHits }) => totalHits).sort((a, b) => a - b), Array.from({ length: 300 }, (_, at) => at + 1));
  equal(Number(await redis.get('rl:ann')), 300);
}

async function scriptsThatWereFlushedAreLoadedAgain(redis) {
  const counter = await store(redis);
  await counter.increment('ann');
  await redis.script('FLUSH');
  equal([(await counter.increment('ann')).totalHits, (await counter.get('ann')).totalHits], [2, 2]);
}

async function refusedRequestsAreTold(redis) {
  const { ask } = await serve(redis, { ...USER, limit: 3 });
  for (const left of [2, 1, 0]) {
    const answer = await ask('ann');
    equal([answer.status, answer.headers.get('ratelimit').includes(`r=${left};`)], [200, true], answer.headers.get('ratelimit'));
  }
  const refused = await ask('ann');
  equal([refused.status, Number(refused.headers.get('retry-after')) > 50], [429, true]);
  equal((await ask('bob')).status, 200);
}

async function aKeyIsReset(redis) {
  const { ask, limiter } = await serve(redis, { ...USER, limit: 1 });
  equal([(await ask('ann')).status, (await ask('ann')).status], [200, 429]);
  equal((await limiter.getKey('ann')).totalHits, 2);
  await limiter.resetKey('ann');
  equal((await ask('ann')).status, 200);
}

async function whatSucceedsMayNotCount(redis) {
  const { ask, limiter } = await serve(redis, { ...USER, limit: 1, skipSuccessfulRequests: true });
  for (let count = 0; count < 3; count += 1) {
    equal((await ask('ann')).status, 200);
    await soon('it is taken back', async () => (await limiter.getKey('ann')).totalHits === 0);
  }
}

async function aBurstIsCutOff(redis) {
  const { ask } = await serve(redis, { ...USER, limit: 20 });
  const answers = await Promise.all(Array.from({ length: 60 }, () => ask('ann')));
  equal(answers.filter(({ status }) => status === 200).length, 20);
}

main([hitsAreCounted, hitsAreTakenBack, windowsEnd, noHitStartsAnotherWindow, hitsAtOnceAreAllCounted,
  scriptsThatWereFlushedAreLoadedAgain, refusedRequestsAreTold, aKeyIsReset, whatSucceedsMayNotCount, aBurstIsCutOff]);
