"""What the workers of Celery and RQ run. The port is in the environment as SERVER_PORT."""

import os
import time

from celery import Celery
from redis import Redis

URL = f"redis://127.0.0.1:{os.environ['SERVER_PORT']}"
app = Celery("tasks", broker=URL + "/1", backend=URL + "/2")
app.conf.update(
    worker_prefetch_multiplier=50,
    task_acks_late=True,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


def counters():
    return Redis.from_url(URL + "/3")


def fails_once(number):
    return number % 10 == 5


def fails_always(number):
    return number % 100 == 7


def note(kind, number, not_before):
    """Counts a run; its number. Those that come before their time are counted apart."""
    client = counters()
    if not_before and time.time() < not_before:
        client.incr(f"{kind}:early")
    return client.hincrby(f"{kind}:runs", number, 1)


@app.task(bind=True, max_retries=2)
def double(self, number, not_before=0):
    run = note("celery", number, not_before)
    if fails_always(number) or (fails_once(number) and run == 1):
        raise self.retry(countdown=0.05, exc=ValueError(f"job {number}"))
    return number * 2


@app.task
def total(numbers):
    return sum(numbers)


def rq_double(number, not_before=0):
    run = note("rq", number, not_before)
    if fails_always(number) or (fails_once(number) and run == 1):
        raise ValueError(f"job {number}")
    return number * 2
