"""What applications do with Celery, its messages and results in one server: `celery_program.py HOST:PORT`."""

import logging
import time

from celery import Celery, chain, chord, group
from celery.contrib.testing.worker import start_worker
from celery.exceptions import TaskRevokedError
from kombu import Connection

from common import connect, equal, fails, main, soon, url

app = Celery("tasks", broker=url(0), backend=url(1))
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={"priority_steps": [0, 3, 6, 9], "visibility_timeout": 3600},
    result_extended=True,
    task_track_started=True,
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=1,
)
seen = []


@app.task
def add(one, other):
    return one + other


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def fail(text):
    raise ValueError(text)


@app.task(bind=True, max_retries=3)
def third(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.01)
    return self.request.retries


@app.task(bind=True)
def reports(self):
    self.update_state(state="PROGRESS", meta={"done": 50})
    soon("it may end", lambda: "ends" in seen)
    return "done"


@app.task
def note(value):
    seen.append(value)


def tasks_return(r):
    result = add.delay(2, 3)
    equal((result.get(timeout=20), result.state, result.name, result.args), (5, "SUCCESS", "tasks.add", [2, 3]))
    equal([result.get(timeout=20) for result in [add.delay(number, 1) for number in range(50)]], list(range(1, 51)))
    result.forget()
    equal(app.AsyncResult(result.id).state, "PENDING")


def tasks_fail(r):
    result = fail.delay("as it should")
    fails(ValueError, result.get, timeout=20)
    equal((result.state, "as it should" in result.traceback, str(result.result)), ("FAILURE", True, "as it should"))


def tasks_are_tried_again(r):
    equal(third.delay().get(timeout=20), 2)


def tasks_wait(r):
    start = time.monotonic()
    equal(add.apply_async((1, 1), countdown=0.2).get(timeout=20), 2)
    equal(time.monotonic() - start >= 0.2, True)


def tasks_follow_each_other(r):
    equal(chain(add.s(1, 2), add.s(10), add.s(100))().get(timeout=20), 113)
    equal(group(add.s(number, number) for number in range(10))().get(timeout=20), [2 * number for number in range(10)])
    equal(chord(add.s(number, number) for number in range(20))(total.s()).get(timeout=20), 380)
    equal(chain(group(add.s(1, 1), add.s(2, 2)), total.s(), add.s(1))().get(timeout=20), 7)


def tasks_report(r):
    result = reports.delay()
    soon("its progress", lambda: result.state == "PROGRESS" and result.info == {"done": 50})
    seen.append("ends")
    equal(result.get(timeout=20), "done")


def tasks_are_revoked(r):
    result = add.apply_async((1, 1), countdown=0.3)
    result.revoke()
    fails(TaskRevokedError, result.get, timeout=20)


def tasks_are_purged(r):
    for number in range(10):
        note.apply_async((number,), queue="nobody-reads")
    equal(r.llen("nobody-reads"), 10)
    with app.connection_for_write() as connection:
        equal(connection.default_channel.queue_purge("nobody-reads"), 10)
    equal(r.llen("nobody-reads"), 0)


def workers_answer(r):
    (answer,) = app.control.ping(timeout=2)
    equal(list(answer.values()), [{"ok": "pong"}])
    (tasks,) = app.control.inspect(timeout=2).registered().values()
    equal("tasks.add" in tasks, True)


def messages_are_sent_by_hand(r):
    with Connection(url(2), transport_options={"priority_steps": [0, 5]}) as connection:
        queue = connection.SimpleQueue("by-hand")
        for number in range(5):
            queue.put({"number": number}, priority=5 if number % 2 else 0)
        got = []
        for _ in range(5):
            message = queue.get(timeout=10)
            got.append(message.payload["number"])
            message.ack()
        equal(got, [0, 2, 4, 1, 3])
        fails(queue.Empty, queue.get, timeout=0.05)
        queue.put("rejected")
        queue.get(timeout=10).requeue()
        again = queue.get(timeout=10)
        equal((again.payload, again.ack()), ("rejected", None))
        queue.close()


PARTS = [tasks_return, tasks_fail, tasks_are_tried_again, tasks_wait, tasks_follow_each_other, tasks_report, tasks_are_revoked,
         tasks_are_purged, workers_answer, messages_are_sent_by_hand]

logging.disable(logging.CRITICAL)
# The worker is in this process, on threads; nothing is flushed while it runs.
connect().flushall()
with start_worker(app, pool="threads", concurrency=4, perform_ping_check=False, shutdown_timeout=30):
    main(PARTS, flushes=False)
