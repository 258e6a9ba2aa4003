"""RQ: jobs of which some are delayed, some fail once and are tried again, some fail for good.

Usage: queue_rq.py PORT JOBS"""

import os
import subprocess
import sys
import time
from datetime import timedelta

port, jobs = sys.argv[1], int(sys.argv[2])
os.environ["SERVER_PORT"] = port
here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, here)

from redis import Redis  # noqa: E402
from rq import Queue, Retry  # noqa: E402

import tasks  # noqa: E402

WORKER = """
import sys
from redis import Redis
from rq import Queue, SimpleWorker
from rq.timeouts import TimerDeathPenalty
class Worker(SimpleWorker):
    death_penalty_class = TimerDeathPenalty
connection = Redis(port=int(sys.argv[1]), db=4)
Worker([Queue('work', connection=connection)], connection=connection).work(with_scheduler=True, logging_level='CRITICAL')
"""


def delay_of(number):
    return 1 + number % 3 if number % 10 == 3 else 0


def main():
    connection = Redis(port=int(port), db=4)
    queue = Queue("work", connection=connection)
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, port], cwd=here, env=os.environ, stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    try:
        def keep(number):
            return {"retry": Retry(max=2), "result_ttl": 3600, "failure_ttl": 3600, "job_id": f"job-{number}"}

        with connection.pipeline() as pipe:
            now = [n for n in range(jobs) if not delay_of(n)]
            for start in range(0, len(now), 500):
                queue.enqueue_many(
                    [Queue.prepare_data(tasks.rq_double, args=(n,), **keep(n)) for n in now[start : start + 500]],
                    pipeline=pipe,
                )
                pipe.execute()
        for number in filter(delay_of, range(jobs)):
            delay = delay_of(number)
            # RQ keeps whole seconds, so that a job may come within the second before its time.
            not_before = int(time.time() + delay)
            queue.enqueue_in(timedelta(seconds=delay), tasks.rq_double, number, not_before, **keep(number))
        failing = [number for number in range(jobs) if tasks.fails_always(number)]
        deadline = time.time() + 600
        finished, failed = queue.finished_job_registry, queue.failed_job_registry
        while len(finished) + len(failed) < jobs:
            assert time.time() < deadline, (len(finished), len(failed), len(queue))
            time.sleep(0.2)
        assert sorted(failed.get_job_ids()) == sorted(f"job-{number}" for number in failing)
        client = tasks.counters()
        runs = {int(number): int(run) for number, run in client.hgetall("rq:runs").items()}
        expected = {n: 3 if tasks.fails_always(n) else 2 if tasks.fails_once(n) else 1 for n in range(jobs)}
        assert runs == expected, {n: (runs.get(n), run) for n, run in expected.items() if runs.get(n) != run}
        assert client.get("rq:early") is None
        for number in range(0, jobs, 97):
            if not tasks.fails_always(number):
                assert queue.fetch_job(f"job-{number}").return_value() == number * 2
        print(f"rq: {jobs} jobs, {len(failing)} failed for good")
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()


main()
