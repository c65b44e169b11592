"""What workers of `rq_program.py` and `celery_program.py` run: they look for functions by their module's name."""

import time

from rq import get_current_job


def square(number):
    return number * number


def fail(text="as it should"):
    raise ValueError(text)


def fail_until(attempt):
    """Fails until it has been tried so often."""
    job = get_current_job()
    job.meta["attempts"] = job.meta.get("attempts", 0) + 1
    job.save_meta()
    if job.meta["attempts"] < attempt:
        raise ValueError(f"attempt {job.meta['attempts']}")
    return job.meta["attempts"]


def push(key, value):
    get_current_job().connection.rpush(key, value)


def wait(seconds):
    time.sleep(seconds)
    return seconds


def succeeded(job, connection, result, *_):
    connection.set(f"succeeded:{job.id}", result)


def failed(job, connection, kind, value, traceback):
    connection.set(f"failed:{job.id}", str(value))
