"""What applications do with rq: `rq_program.py HOST:PORT`."""

import datetime
import logging
import multiprocessing
import os
import signal
import time

from rq import Callback, Queue, Repeat, Retry, SimpleWorker, Worker
from rq.command import send_stop_job_command
from rq.exceptions import NoSuchJobError
from rq.group import Group
from rq.job import Dependency, Job, JobStatus
from rq.rate_limit import RateLimit
from rq.suspension import is_suspended, resume, suspend

import jobs
from common import connect, equal, fails, main, soon


def work(*queues, kind=SimpleWorker, **options):
    worker = kind(queues, connection=queues[0].connection)
    worker.work(burst=True, logging_level="CRITICAL", **options)
    return worker


def works_until_killed(names):
    """A worker in a process of its own."""
    logging.disable(logging.CRITICAL)
    connection = connect()
    Worker([Queue(name, connection=connection) for name in names], connection=connection).work(logging_level="CRITICAL")


def jobs_are_run(r):
    queue = Queue(connection=r)
    job = queue.enqueue(jobs.square, 7, description="seven", meta={"for": "a test"}, result_ttl=100)
    equal((job.get_status(), len(queue), queue.job_ids, job.get_position()), (JobStatus.QUEUED, 1, [job.id], 0))
    work(queue)
    equal((job.get_status(), job.return_value(), job.meta, len(queue)), (JobStatus.FINISHED, 49, {"for": "a test"}, 0))
    equal((queue.finished_job_registry.get_job_ids(), 90 < r.ttl(job.key) <= 100), ([job.id], True))
    equal((job.latest_result().return_value, Job.fetch(job.id, connection=r).args), (49, (7,)))
    work(queue, kind=Worker)
    forked = queue.enqueue(jobs.square, 8)
    work(queue, kind=Worker)
    equal(forked.return_value(), 64)


def many_jobs_keep_their_order(r):
    high, low = Queue("high", connection=r), Queue("low", connection=r)
    for number in range(30):
        low.enqueue(jobs.push, "seen", f"low {number}")
        high.enqueue(jobs.push, "seen", f"high {number}")
    high.enqueue(jobs.push, "seen", "first", at_front=True)
    data = [Queue.prepare_data(jobs.push, ("seen", f"many {number}")) for number in range(20)]
    equal(len(low.enqueue_many(data)), 20)
    work(high, low)
    wanted = ["first", *(f"{name} {number}" for name, count in (("high", 30), ("low", 30), ("many", 20)) for number in range(count))]
    equal([value.decode() for value in r.lrange("seen", 0, -1)], wanted)


def failures_are_kept(r):
    queue = Queue(connection=r)
    job = queue.enqueue(jobs.fail, on_failure=Callback(jobs.failed), on_success=Callback(jobs.succeeded))
    good = queue.enqueue(jobs.square, 3, on_success=Callback(jobs.succeeded))
    work(queue)
    equal((job.get_status(), queue.failed_job_registry.get_job_ids()), (JobStatus.FAILED, [job.id]))
    equal(("ValueError: as it should" in job.latest_result().exc_string, r.get(f"failed:{job.id}")), (True, b"as it should"))
    equal((r.get(f"succeeded:{good.id}"), r.exists(f"succeeded:{job.id}")), (b"9", 0))
    queue.failed_job_registry.requeue(job.id)
    equal((job.get_status(), queue.job_ids, len(queue.failed_job_registry)), (JobStatus.QUEUED, [job.id], 0))
    work(queue)
    equal(len(queue.failed_job_registry), 1)


def failures_are_tried_again(r):
    queue = Queue(connection=r)
    job = queue.enqueue(jobs.fail_until, 3, retry=Retry(max=5))
    hopeless = queue.enqueue(jobs.fail, retry=Retry(max=2))
    work(queue)
    equal((job.return_value(), job.get_meta()["attempts"], hopeless.get_status()), (3, 3, JobStatus.FAILED))
    later = queue.enqueue(jobs.fail, retry=Retry(max=1, interval=50))
    work(queue)
    equal((later.get_status(), queue.scheduled_job_registry.get_job_ids()), (JobStatus.SCHEDULED, [later.id]))


def jobs_are_scheduled(r):
    queue = Queue(connection=r)
    soon_job = queue.enqueue_in(datetime.timedelta(milliseconds=1), jobs.square, 5)
    late_job = queue.enqueue_at(datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1), jobs.square, 6)
    repeated = queue.enqueue(jobs.push, "repeated", "x", repeat=Repeat(times=2))
    equal((soon_job.get_status(), len(queue.scheduled_job_registry)), (JobStatus.SCHEDULED, 2))
    time.sleep(0.05)
    work(queue, with_scheduler=True)
    soon("the job", lambda: work(queue) and soon_job.get_status() == JobStatus.FINISHED)
    equal((soon_job.return_value(), late_job.get_status(), r.llen("repeated")), (25, JobStatus.SCHEDULED, 3))
    equal((queue.scheduled_job_registry.get_job_ids(), repeated.get_status()), ([late_job.id], JobStatus.FINISHED))
    late_job.cancel()
    equal((late_job.get_status(), len(queue.scheduled_job_registry)), (JobStatus.CANCELED, 0))


def jobs_depend_on_each_other(r):
    queue = Queue(connection=r)
    first, second = queue.enqueue(jobs.push, "seen", "first"), queue.enqueue(jobs.push, "seen", "second")
    last = queue.enqueue(jobs.push, "seen", "last", depends_on=[first, second])
    failing = queue.enqueue(jobs.fail)
    never = queue.enqueue(jobs.push, "seen", "never", depends_on=failing)
    anyway = queue.enqueue(jobs.push, "seen", "anyway", depends_on=Dependency(jobs=[failing], allow_failure=True))
    equal((last.get_status(), len(queue.deferred_job_registry)), (JobStatus.DEFERRED, 3))
    work(queue)
    seen = [value.decode() for value in r.lrange("seen", 0, -1)]
    equal((seen[:2], sorted(seen[2:])), (["first", "second"], ["anyway", "last"]))
    equal((never.get_status(), anyway.get_status()), (JobStatus.DEFERRED, JobStatus.FINISHED))


def jobs_are_canceled_and_deleted(r):
    queue = Queue(connection=r)
    one, two, three = (queue.enqueue(jobs.square, number, job_id=f"job-{number}") for number in (1, 2, 3))
    one.cancel()
    two.delete()
    equal((queue.job_ids, one.get_status(), Job.exists("job-2", connection=r)), (["job-3"], JobStatus.CANCELED, False))
    fails(NoSuchJobError, Job.fetch, "job-2", connection=r)
    equal(queue.canceled_job_registry.get_job_ids(), ["job-1"])
    queue.remove(three)
    equal(len(queue), 0)
    for number in range(500):
        queue.enqueue(jobs.square, number)
    equal((queue.empty(), len(queue), [key for key in r.keys("rq:job:*") if not key.endswith((b"job-1", b"job-3"))]), (500, 0, []))
    queue.enqueue(jobs.square, 1)
    queue.delete(delete_jobs=True)
    equal(Queue.all(connection=r), [])


def a_job_is_enqueued_once(r):
    queue = Queue(connection=r)
    queue.enqueue(jobs.square, 2, job_id="same", unique=True)
    fails(Exception, queue.enqueue, jobs.square, 3, job_id="same", unique=True)
    work(queue)
    equal(Job.fetch("same", connection=r).return_value(), 4)


def groups_belong_together(r):
    group = Group.create(connection=r, name="numbers")
    group.enqueue_many(Queue(connection=r), [Queue.prepare_data(jobs.square, (number,)) for number in range(5)])
    equal((len(Group.fetch("numbers", connection=r).get_jobs()), [each.name for each in Group.all(connection=r)]), (5, ["numbers"]))
    work(Queue(connection=r))
    equal(sorted(job.return_value() for job in group.get_jobs()), [0, 1, 4, 9, 16])


def rates_are_limited(r):
    queue = Queue(connection=r)
    limit = RateLimit("one-at-a-time", concurrency=2)
    limited = [queue.enqueue(jobs.square, number, rate_limit=limit) for number in range(7)]
    equal((len(queue), [job.get_status().value for job in limited].count("rate_limited")), (2, 5))
    work(queue)
    equal([job.return_value() for job in limited], [0, 1, 4, 9, 16, 25, 36])


def workers_are_known(r):
    worker = multiprocessing.get_context("fork").Process(target=works_until_killed, args=(["default"],))
    worker.start()
    try:
        is_told_what_to_do(r, worker.pid)
        os.kill(worker.pid, signal.SIGINT)
        worker.join(20)
        equal((worker.is_alive(), Worker.count(connection=r)), (False, 0))
    finally:
        worker.kill()


def is_told_what_to_do(r, pid):
    queue = Queue(connection=r)
    (known,) = soon("the worker", lambda: Worker.all(connection=r))
    equal((known.pid, known.queue_names(), Worker.count(connection=r)), (pid, ["default"], 1))
    jobs_run = [queue.enqueue(jobs.square, number) for number in range(5)]
    soon("all are run", lambda: all(job.get_status() == JobStatus.FINISHED for job in jobs_run))
    soon("they are counted", lambda: (known.refresh(), known.successful_job_count == 5)[1])
    long = queue.enqueue(jobs.wait, 100)
    soon("it runs", lambda: long.get_status() == JobStatus.STARTED)
    equal(queue.started_job_registry.get_job_ids(), [long.id])
    send_stop_job_command(r, long.id)
    soon("it is stopped", lambda: long.get_status() == JobStatus.STOPPED)
    another = queue.enqueue(jobs.square, 9)
    soon("the worker goes on", lambda: another.get_status() == JobStatus.FINISHED)


def workers_are_suspended(r):
    queue = Queue(connection=r)
    job = queue.enqueue(jobs.square, 2)
    suspend(r)
    work(queue)
    equal((bool(is_suspended(r)), job.get_status()), (True, JobStatus.QUEUED))
    resume(r)
    work(queue)
    equal(job.return_value(), 4)


def several_workers_share_the_jobs(r):
    queue = Queue(connection=r)
    for number in range(60):
        queue.enqueue(jobs.push, "seen", number)
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=lambda: work(Queue(connection=connect()))) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    equal(sorted(int(value) for value in r.lrange("seen", 0, -1)), list(range(60)))


logging.disable(logging.CRITICAL)
main([jobs_are_run, many_jobs_keep_their_order, failures_are_kept, failures_are_tried_again, jobs_are_scheduled,
      jobs_depend_on_each_other, jobs_are_canceled_and_deleted, a_job_is_enqueued_once, groups_belong_together,
      rates_are_limited, workers_are_known, workers_are_suspended, several_workers_share_the_jobs])
