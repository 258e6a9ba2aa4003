"""Celery: tasks of which some are delayed, some fail once and are tried again, some fail for good, and a chord.

Usage: queue_celery.py PORT JOBS"""

import os
import subprocess
import sys
import time

port, jobs = sys.argv[1], int(sys.argv[2])
os.environ["SERVER_PORT"] = port
here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, here)

from celery import chord  # noqa: E402

import tasks  # noqa: E402


def delay_of(number):
    return 1 + number % 3 if number % 10 == 3 else 0


def outcome(result, timeout=300):
    """The state and the value of a result, asked for until it is there."""
    deadline = time.time() + timeout
    while True:
        meta = tasks.app.backend.get_task_meta(result.id)
        if meta["status"] in ("SUCCESS", "FAILURE"):
            return meta["status"], meta["result"]
        assert time.time() < deadline, meta
        time.sleep(0.01)


def main():
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--pool", "threads", "-c", "8", "-l", "CRITICAL"],
        cwd=here,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.DEVNULL,
    )
    try:
        results = []
        with tasks.app.producer_or_acquire() as producer:
            for number in range(jobs):
                delay = delay_of(number)
                not_before = time.time() + delay if delay else 0
                results.append(
                    tasks.double.apply_async((number, not_before), countdown=delay or None, producer=producer)
                )
        client = tasks.counters()
        failing = [number for number in range(jobs) if tasks.fails_always(number)]
        for number, result in enumerate(results):
            state, value = outcome(result)
            if tasks.fails_always(number):
                assert state == "FAILURE" and isinstance(value, ValueError), (number, state, value)
            else:
                assert (state, value) == ("SUCCESS", number * 2), (number, state, value)
        runs = {int(number): int(run) for number, run in client.hgetall("celery:runs").items()}
        expected = {n: 3 if tasks.fails_always(n) else 2 if tasks.fails_once(n) else 1 for n in range(jobs)}
        assert runs == expected, {n: (runs.get(n), run) for n, run in expected.items() if runs.get(n) != run}
        assert client.get("celery:early") is None
        sum_of_all = chord((tasks.double.s(number) for number in (1, 2, 3, 4)), tasks.total.s())
        assert outcome(sum_of_all(), 60) == ("SUCCESS", 20)
        print(f"celery: {jobs} jobs, {len(failing)} failed for good")
    finally:
        worker.terminate()
        worker.wait()


main()
