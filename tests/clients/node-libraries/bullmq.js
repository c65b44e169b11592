// What applications do with BullMQ, whose every step is a script: `bullmq.js HOST:PORT`.
'use strict';

const { deepStrictEqual: equal, ok, rejects } = require('node:assert');
const { DelayedError, FlowProducer, Queue, QueueEvents, RateLimitError, UnrecoverableError, WaitingChildrenError, Worker } =
  require('bullmq');
const { address, closed, main, sleep, soon } = require('./common');

const TIME = 20_000;

function queue(name, options = {}) {
  return closed(new Queue(name, { connection: address, ...options }));
}

async function listen(name) {
  const events = closed(new QueueEvents(name, { connection: address }));
  await events.waitUntilReady();
  return events;
}

/** Somebody who works; the newest of several workers is closed first. */
async function work(name, processor, options = {}) {
  const connection = { ...address, maxRetriesPerRequest: null };
  const worker = closed(new Worker(name, processor, { connection, drainDelay: 1, ...options }));
  const failures = [];
  worker.on('error', (error) => failures.push(error));
  const close = worker.close.bind(worker);
  worker.close = async (...args) => {
    await close(...args);
    equal(failures, []);
  };
  await worker.waitUntilReady();
  return worker;
}

async function jobsAreWorkedOn() {
  const [jobs, events] = [queue('jobs'), await listen('jobs')];
  const progress = [];
  events.on('progress', ({ data }) => progress.push(data));
  const job = await jobs.add('square', { number: 7 });
  equal([await job.getState(), await jobs.count(), (await jobs.getWaiting()).map(({ id }) => id)], ['waiting', 1, [job.id]]);
  await work('jobs', async (given) => {
    await given.log('began');
    await given.updateProgress(50);
    await given.updateProgress({ part: 'last', of: 2 });
    return { square: given.data.number ** 2 };
  });
  equal(await job.waitUntilFinished(events, TIME), { square: 49 });
  const found = await jobs.getJob(job.id);
  equal([found.returnvalue, found.progress, found.attemptsMade], [{ square: 49 }, { part: 'last', of: 2 }, 1]);
  equal(await jobs.getJobLogs(job.id), { logs: ['began'], count: 1 });
  await soon('the events', () => progress.length === 2);
  equal(progress, [50, { part: 'last', of: 2 }]);
  equal([await found.getState(), await jobs.getCompletedCount(), await jobs.getJobState('nobody')], ['completed', 1, 'unknown']);
}

async function manyJobsKeepTheirOrder() {
  const jobs = queue('many');
  const added = await jobs.addBulk(Array.from({ length: 200 }, (_, number) => ({ name: 'n', data: { number } })));
  equal([added.length, await jobs.getJobCounts('waiting', 'active')], [200, { waiting: 200, active: 0 }]);
  const seen = [];
  await work('many', async ({ data }) => seen.push(data.number));
  await soon('all are done', async () => (await jobs.getCompletedCount()) === 200);
  equal(seen, Array.from({ length: 200 }, (_, number) => number));
}

async function severalWorkersShareTheJobs() {
  const jobs = queue('shared');
  const seen = [[], [], []];
  for (const mine of seen) {
    await work('shared', async ({ data }) => (mine.push(data.number), await sleep(2)), { concurrency: 5 });
  }
  await jobs.addBulk(Array.from({ length: 300 }, (_, number) => ({ name: 'n', data: { number } })));
  await soon('all are done', async () => (await jobs.getCompletedCount()) === 300);
  equal(seen.flat().sort((a, b) => a - b), Array.from({ length: 300 }, (_, number) => number));
  ok(seen.every((mine) => mine.length > 20), `${seen.map((mine) => mine.length)}`);
  equal((await jobs.getWorkers()).length, 3);
}

async function failuresAreTriedAgain() {
  const [jobs, events] = [queue('failing'), await listen('failing')];
  const options = { attempts: 3, backoff: { type: 'exponential', delay: 20 } };
  const times = [];
  await work('failing', async (job) => {
    times.push(Date.now());
    if (job.name === 'never') throw new UnrecoverableError('no use');
    if (job.attemptsMade < Number(job.data.until)) throw new Error(`attempt ${job.attemptsMade}`);
    return job.attemptsMade;
  });
  const third = await jobs.add('third', { until: 2 }, options);
  equal(await third.waitUntilFinished(events, TIME), 2);
  ok(times[1] - times[0] >= 20 && times[2] - times[1] >= 40, `${times}`);
  const never = await jobs.add('never', {}, options);
  await rejects(never.waitUntilFinished(events, TIME), /no use/);
  const last = await jobs.add('last', { until: 9 }, { ...options, backoff: 1 });
  await rejects(last.waitUntilFinished(events, TIME), /attempt 2/);
  const found = await jobs.getJob(last.id);
  equal([found.failedReason, found.attemptsMade, found.stacktrace.length], ['attempt 2', 3, 3]);
  equal((await jobs.getFailed()).map(({ id }) => id).sort(), [never.id, last.id].sort());
  await found.updateData({ until: 0 });
  await found.retry();
  equal(await found.waitUntilFinished(events, TIME), 3);
  await jobs.retryJobs({ state: 'failed' });
  await soon('it fails once more', async () => (await jobs.getFailedCount()) === 1);
  equal(await jobs.clean(0, 100, 'failed'), [never.id]);
}

async function delayedJobsWait() {
  const [jobs, events] = [queue('delayed'), await listen('delayed')];
  const done = [];
  await work('delayed', async (job, token) => {
    if (job.name === 'again' && !job.data.waited) {
      await job.updateData({ waited: true });
      await job.moveToDelayed(Date.now() + 30, token);
      throw new DelayedError();
    }
    done.push(job.name);
    return Date.now() - job.timestamp;
  });
  const later = await jobs.add('later', {}, { delay: 150 });
  const sooner = await jobs.add('sooner', {}, { delay: 50 });
  const never = await jobs.add('promoted', {}, { delay: 100_000 });
  const again = await jobs.add('again', {});
  equal([await later.getState(), await jobs.getDelayedCount() >= 3], ['delayed', true]);
  ok((await later.waitUntilFinished(events, TIME)) >= 150);
  equal([await sooner.getState(), await again.getState()], ['completed', 'completed']);
  await never.changeDelay(200_000);
  equal((await jobs.getJob(never.id)).delay, 200_000);
  await never.promote();
  await never.waitUntilFinished(events, TIME);
  equal([done.indexOf('sooner') < done.indexOf('later'), done.at(-1)], [true, 'promoted']);
}

async function jobsRepeat() {
  const jobs = queue('repeating');
  const seen = [];
  await jobs.upsertJobScheduler('ticking', { every: 40 }, { name: 'tick', data: { of: 'clock' } });
  await jobs.upsertJobScheduler('yearly', { pattern: '0 0 1 1 *', tz: 'Europe/Berlin' }, { name: 'year' });
  await jobs.upsertJobScheduler('thrice', { every: 20, limit: 3 }, { name: 'thrice' });
  equal((await jobs.getJobSchedulers()).map(({ key }) => key).sort(), ['thrice', 'ticking', 'yearly']);
  await work('repeating', async (job) => seen.push(job.name));
  const count = (name) => seen.filter((other) => other === name).length;
  await soon('five ticks', () => count('tick') >= 5 && count('thrice') === 3);
  await jobs.upsertJobScheduler('ticking', { every: 100_000 }, { name: 'tick' });
  equal((await jobs.getJobScheduler('ticking')).every, 100_000);
  equal([await jobs.removeJobScheduler('ticking'), await jobs.removeJobScheduler('nothing')], [true, false]);
  const ticks = count('tick');
  await sleep(150);
  equal([count('thrice'), count('year'), count('tick') <= ticks + 1], [3, 0, true]);
  const left = (await jobs.getJobSchedulers()).map(({ key }) => key);
  equal([left.includes('yearly'), left.includes('ticking')], [true, false]);
}

async function workIsLimited() {
  const jobs = queue('limited');
  const times = [];
  await work('limited', async () => times.push(Date.now()), { limiter: { max: 2, duration: 150 }, concurrency: 10 });
  await jobs.addBulk(Array.from({ length: 8 }, (_, number) => ({ name: 'n', data: { number } })));
  await soon('all are done', async () => (await jobs.getCompletedCount()) === 8);
  for (let at = 2; at < 8; at += 2) ok(times[at] - times[at - 2] >= 120, `two in 150 ms: ${times.map((time) => time - times[0])}`);
}

async function workersLimitThemselves() {
  const [jobs, events] = [queue('throttled'), await listen('throttled')];
  let refused = 0;
  const worker = await work('throttled', async () => {
    if (refused++ === 0) {
      await worker.rateLimit(100);
      throw new RateLimitError();
    }
    return Date.now();
  });
  const start = Date.now();
  const job = await jobs.add('n', {});
  ok((await job.waitUntilFinished(events, TIME)) - start >= 90);
  await jobs.rateLimit(100_000);
  ok((await jobs.getRateLimitTtl()) > 90_000);
  equal([await jobs.removeRateLimitKey(), refused], [1, 2]);
}

async function concurrencyIsLimitedForAll() {
  const jobs = queue('one-by-one');
  await jobs.setGlobalConcurrency(1);
  equal(await jobs.getGlobalConcurrency(), 1);
  let [now, most] = [0, 0];
  const processor = async () => {
    most = Math.max(most, ++now);
    await sleep(5);
    now -= 1;
  };
  for (let count = 0; count < 3; count += 1) await work('one-by-one', processor, { concurrency: 3 });
  await jobs.addBulk(Array.from({ length: 15 }, () => ({ name: 'n', data: {} })));
  await soon('all are done', async () => (await jobs.getCompletedCount()) === 15);
  equal([most, await jobs.removeGlobalConcurrency()], [1, 1]);
}

async function flowsWaitForTheirChildren() {
  const flows = closed(new FlowProducer({ connection: address }));
  const [pages, events] = [queue('pages'), await listen('books')];
  const tree = await flows.add({
    name: 'book', queueName: 'books', data: { title: 'flow' },
    children: [
      { name: 'chapter', queueName: 'chapters', data: { number: 1 },
        children: [1, 2, 3].map((number) => ({ name: 'page', queueName: 'pages', data: { number } })) },
      { name: 'page', queueName: 'pages', data: { number: 10 } },
    ],
  });
  equal([await tree.job.getState(), await tree.children[0].job.getState(), await pages.count()],
    ['waiting-children', 'waiting-children', 4]);
  const found = await flows.getFlow({ id: tree.job.id, queueName: 'books' });
  equal(found.children.map(({ job }) => job.name).sort(), ['chapter', 'page']);
  const sum = async (job) => Object.values(await job.getChildrenValues()).reduce((total, value) => total + value, 0);
  await work('pages', async (job) => job.data.number);
  await work('chapters', sum);
  await work('books', sum);
  equal(await tree.job.waitUntilFinished(events, TIME), 16);
  const { processed, unprocessed } = await tree.job.getDependencies();
  equal([Object.values(processed).sort((a, b) => a - b), unprocessed], [[6, 10], []]);
}

async function failedChildrenFailTheirParents() {
  const flows = closed(new FlowProducer({ connection: address }));
  const [parents, events] = [queue('parents'), await listen('parents')];
  await work('children', async (job) => {
    if (job.name === 'bad') throw new Error('a bad child');
    return job.name;
  });
  await work('parents', async (job) => [await job.getChildrenValues(), await job.getIgnoredChildrenFailures()]);
  const flow = (option) => flows.add({
    name: 'parent', queueName: 'parents',
    children: [
      { name: 'bad', queueName: 'children', opts: { [option]: true } },
      { name: 'good', queueName: 'children' },
    ],
  });
  const failed = await flow('failParentOnFailure');
  await rejects(failed.job.waitUntilFinished(events, TIME), /failed/);
  const ignored = await flow('ignoreDependencyOnFailure');
  const [values, failures] = await ignored.job.waitUntilFinished(events, TIME);
  equal([Object.values(values), Object.values(failures)], [['good'], ['a bad child']]);
  equal((await parents.getFailed()).map(({ id }) => id), [failed.job.id]);
}

async function jobsAddTheirChildrenWhileTheyRun() {
  const [steps, events] = [queue('steps'), await listen('steps')];
  const children = queue('step-children');
  await work('step-children', async (job) => job.data.value);
  await work('steps', async (job, token) => {
    if (!job.data.asked) {
      const parent = { id: job.id, queue: job.queueQualifiedName };
      await children.addBulk([1, 2, 3].map((value) => ({ name: 'c', data: { value }, opts: { parent } })));
      await job.updateData({ asked: true });
      if (await job.moveToWaitingChildren(token)) throw new WaitingChildrenError();
    }
    return Object.values(await job.getChildrenValues()).sort();
  });
  equal(await (await steps.add('step', {})).waitUntilFinished(events, TIME), [1, 2, 3]);
}

async function prioritiesGoFirst() {
  const jobs = queue('priorities');
  for (const [name, priority] of [['c', 5], ['b', 2], ['d', 9], ['z', 100], ['a', undefined]]) {
    await jobs.add(name, {}, { priority });
  }
  await (await jobs.add('b2', {}, { priority: 9 })).changePriority({ priority: 2 });
  equal(await jobs.getCountsPerPriority([0, 2, 5]), { 0: 1, 2: 2, 5: 1 });
  const seen = [];
  await work('priorities', async (job) => seen.push(job.name));
  await soon('all are done', async () => (await jobs.getCompletedCount()) === 6);
  equal(seen, ['a', 'b', 'b2', 'c', 'd', 'z']);
}

async function theLastMayGoFirst() {
  const jobs = queue('stack');
  for (const name of ['a', 'b', 'c']) await jobs.add(name, {}, { lifo: true });
  const seen = [];
  await work('stack', async (job) => seen.push(job.name));
  await soon('all are done', () => seen.length === 3);
  equal(seen, ['c', 'b', 'a']);
}

async function queuesPauseAndResume() {
  const jobs = queue('paused');
  const seen = [];
  const worker = await work('paused', async (job) => seen.push(job.name));
  await jobs.pause();
  await jobs.add('a', {});
  await sleep(50);
  equal([await jobs.isPaused(), await jobs.getJobCounts('waiting', 'active'), seen], [true, { waiting: 1, active: 0 }, []]);
  await jobs.resume();
  await soon('it goes on', () => seen.length === 1);
  await worker.pause();
  await jobs.add('b', {});
  await sleep(50);
  equal([worker.isPaused(), seen], [true, ['a']]);
  worker.resume();
  await soon('it goes on', () => seen.length === 2);
}

async function theSameJobIsAddedOnce() {
  const jobs = queue('once');
  for (let count = 0; count < 3; count += 1) await jobs.add('n', { count }, { jobId: 'fixed-id' });
  equal([await jobs.count(), (await jobs.getJob('fixed-id')).data], [1, { count: 0 }]);
  const first = await jobs.add('n', {}, { deduplication: { id: 'd', ttl: 100 } });
  const second = await jobs.add('n', {}, { deduplication: { id: 'd', ttl: 100 } });
  equal([second.id, await jobs.getDeduplicationJobId('d')], [first.id, first.id]);
  await soon('the time is over', async () => (await jobs.getDeduplicationJobId('d')) === null);
  ok((await jobs.add('n', {}, { deduplication: { id: 'd', ttl: 100 } })).id !== first.id);
}

async function stalledJobsAreTakenAgain() {
  const [jobs, events] = [queue('stalled'), await listen('stalled')];
  const times = { lockDuration: 100, stalledInterval: 50, lockRenewTime: 50 };
  // Takes a job as a worker does, and never comes back.
  const gone = await work('stalled', undefined, { ...times, autorun: false });
  const job = await jobs.add('n', {});
  equal([(await gone.getNextJob('a token')).id, await job.getState()], [job.id, 'active']);
  await work('stalled', async () => 'by another', times);
  equal(await job.waitUntilFinished(events, TIME), 'by another');
}

async function jobsAreTakenByHand() {
  const jobs = queue('by-hand');
  const worker = await work('by-hand', undefined, { autorun: false });
  const [one, two] = [await jobs.add('one', {}), await jobs.add('two', {})];
  const taken = await worker.getNextJob('token');
  equal([taken.id, await taken.extendLock('token', 10_000)], [one.id, 1]);
  await rejects(taken.moveToCompleted('x', 'another token'), /Missing lock|lock mismatch|not owned|Lock mismatch/i);
  await taken.moveToCompleted('done', 'token', false);
  const next = await worker.getNextJob('token');
  await next.moveToFailed(new Error('by hand'), 'token', false);
  equal([await one.getState(), await two.getState(), next.id], ['completed', 'failed', two.id]);
}

async function whatIsDoneIsRemoved(redis) {
  const jobs = queue('removed', { defaultJobOptions: { removeOnComplete: { count: 3 }, removeOnFail: true } });
  await work('removed', async (job) => {
    if (job.name === 'bad') throw new Error('bad');
  });
  await jobs.addBulk(Array.from({ length: 20 }, () => ({ name: 'good', data: {} })));
  await jobs.addBulk(Array.from({ length: 5 }, () => ({ name: 'bad', data: {} })));
  await soon('all are done', async () => (await jobs.getJobCountByTypes('waiting', 'active')) === 0);
  equal(await jobs.getJobCounts('completed', 'failed'), { completed: 3, failed: 0 });
  const [{ id }] = await jobs.getCompleted();
  equal([await jobs.remove(id), await jobs.getCompletedCount(), await jobs.getJob(id)], [1, 2, undefined]);
  ok((await redis.xlen('bull:removed:events')) > 20);
  await jobs.trimEvents(0);
  equal(await redis.xlen('bull:removed:events'), 0);
}

async function queuesAreEmptied(redis) {
  const jobs = queue('emptied');
  await jobs.addBulk(Array.from({ length: 50 }, (_, at) => ({ name: 'n', data: {}, opts: at % 2 ? { delay: 100_000 } : {} })));
  await jobs.drain();
  equal(await jobs.getJobCounts('waiting', 'delayed'), { waiting: 0, delayed: 25 });
  await jobs.drain(true);
  equal(await jobs.getJobCountByTypes('delayed', 'waiting'), 0);
  await jobs.addBulk(Array.from({ length: 2_500 }, () => ({ name: 'n', data: { text: 'x'.repeat(100) } })));
  const worker = await work('emptied', undefined, { autorun: false });
  await worker.getNextJob('token');
  await rejects(jobs.obliterate(), /active/);
  await worker.close();
  await jobs.obliterate({ force: true });
  equal(await redis.keys('bull:emptied:*'), []);
}

async function metricsAreKept() {
  const jobs = queue('metrics');
  await work('metrics', async () => 'x', { metrics: { maxDataPoints: 60 } });
  await jobs.addBulk(Array.from({ length: 10 }, () => ({ name: 'n', data: {} })));
  await soon('all are done', async () => (await jobs.getCompletedCount()) === 10);
  equal((await jobs.getMetrics('completed')).meta.count, 10);
  ok((await jobs.exportPrometheusMetrics()).includes('bullmq_job_count{queue="metrics", state="completed"} 10'));
}

main([jobsAreWorkedOn, manyJobsKeepTheirOrder, severalWorkersShareTheJobs, failuresAreTriedAgain, delayedJobsWait, jobsRepeat,
  workIsLimited, workersLimitThemselves, concurrencyIsLimitedForAll, flowsWaitForTheirChildren, failedChildrenFailTheirParents,
  jobsAddTheirChildrenWhileTheyRun, prioritiesGoFirst, theLastMayGoFirst, queuesPauseAndResume, theSameJobIsAddedOnce,
  stalledJobsAreTakenAgain, jobsAreTakenByHand, whatIsDoneIsRemoved, queuesAreEmptied, metricsAreKept]);
