"""redis-py's lock and scripts, and a semaphore and a rate limiter made of them. Usage: limits.py PORT ROUNDS"""

import sys
import threading
import time
import uuid

from redis import Redis
from redis.exceptions import LockError, LockNotOwnedError, NoScriptError, ResponseError

port, rounds = int(sys.argv[1]), int(sys.argv[2])


def in_threads(count, work):
    """Runs the work in so many threads; the first error of any is raised."""
    errors = []

    def run():
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def locks(client):
    state = {"holders": 0, "counter": 0}

    def work():
        for _ in range(rounds // 10):
            with client.lock("lock", timeout=10, sleep=0.001):
                state["holders"] += 1
                assert state["holders"] == 1, "two hold the lock"
                before = state["counter"]
                client.ping()
                state["counter"] = before + 1
                state["holders"] -= 1

    in_threads(10, work)
    assert state["counter"] == rounds // 10 * 10
    lock = client.lock("lock", timeout=2)
    assert lock.acquire()
    assert not client.lock("lock", timeout=2).acquire(blocking=False)
    lock.extend(20)
    assert client.pttl("lock") > 20000
    lock.reacquire()
    assert client.pttl("lock") <= 2000
    client.set("lock", "somebody else's")
    for refused in (lock.release, lambda: lock.extend(1)):
        try:
            refused()
            raise AssertionError("a lost lock was held")
        except (LockNotOwnedError, LockError):
            pass
    client.delete("lock")


SEMAPHORE = """
local now = redis.call('TIME')
now = tonumber(now[1]) + tonumber(now[2]) / 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[3]))
if redis.call('ZCARD', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('ZADD', KEYS[1], now, ARGV[1])
  return 1
end
return 0
"""


def semaphores(client):
    acquire = client.register_script(SEMAPHORE)
    state = {"most": 0, "holders": 0}
    guard = threading.Lock()

    def work():
        for _ in range(rounds // 20):
            token = uuid.uuid4().hex
            while not acquire(keys=["semaphore"], args=[token, 3, 30]):
                time.sleep(0.001)
            with guard:
                state["holders"] += 1
                state["most"] = max(state["most"], state["holders"])
            client.ping()
            with guard:
                state["holders"] -= 1
            assert client.zrem("semaphore", token) == 1

    in_threads(10, work)
    assert 1 <= state["most"] <= 3, state
    assert acquire(keys=["semaphore"], args=["forgotten", 1, 0.1]) == 1
    assert acquire(keys=["semaphore"], args=["other", 1, 30]) == 0
    time.sleep(0.15)
    assert acquire(keys=["semaphore"], args=["other", 1, 0.1]) == 1


BUCKET = """
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local now = tonumber(ARGV[3])
local tokens = tonumber(bucket[1]) or tonumber(ARGV[1])
tokens = math.min(tonumber(ARGV[1]), tokens + (now - (tonumber(bucket[2]) or now)) * tonumber(ARGV[2]))
local allowed = tokens >= 1
if allowed then tokens = tokens - 1 end
redis.call('HSET', KEYS[1], 'tokens', tokens, 'at', now)
redis.call('PEXPIRE', KEYS[1], 60000)
return {allowed and 1 or 0, tostring(tokens)}
"""


def limiters(client):
    take = client.register_script(BUCKET)
    taken = [take(keys=["bucket"], args=[5, 0.5, at])[0] for at in (0, 0, 0, 0, 0, 0, 1, 2, 2, 4)]
    assert taken == [1, 1, 1, 1, 1, 0, 0, 1, 0, 1], taken
    with client.pipeline() as pipe:
        for _ in range(4):
            take(keys=["other"], args=[2, 0, 0], client=pipe)
        assert [reply[0] for reply in pipe.execute()] == [1, 1, 0, 0]
    client.script_flush()
    assert client.script_exists(take.sha) == [False]
    assert take(keys=["third"], args=[2, 0, 0])[0] == 1, "a script that was flushed is loaded again"
    try:
        client.evalsha("0" * 40, 0)
        raise AssertionError("a script that is not there ran")
    except NoScriptError:
        pass
    try:
        client.eval("return redis.error_reply('MINE text')", 0)
        raise AssertionError("an error was none")
    except ResponseError as error:
        assert str(error) == "MINE text", error


def functions(client):
    client.function_load(
        "#!lua name=counter\n"
        "redis.register_function('add', function(keys, args) return redis.call('INCRBY', keys[1], args[1]) end)\n"
        "redis.register_function{function_name='peek', callback=function(keys) return redis.call('GET', keys[1]) end,"
        " flags={'no-writes'}}",
        replace=True,
    )
    assert client.fcall("add", 1, "counted", 5) == 5
    assert client.fcall_ro("peek", 1, "counted") == b"5"
    assert client.function_delete("counter")


def main():
    client = Redis(port=port, db=5)
    for part in (locks, semaphores, limiters, functions):
        part(client)
    print(f"redis-py: {rounds} locks, semaphores, limiters, functions")


main()
