// Locks, rate limiters and scripts as ioredis and what is built on it have them. Usage: limits.js PORT ROUNDS
'use strict';
const assert = require('node:assert');
const Redis = require('ioredis');
const Redlock = require('redlock');
const { RateLimiterRedis, BurstyRateLimiter } = require('rate-limiter-flexible');

const [port, rounds] = process.argv.slice(2).map(Number);

async function locks(client) {
  const redlock = new Redlock([client], { retryCount: 400, retryDelay: 5, retryJitter: 5 });
  let holders = 0;
  let counter = 0;
  await Promise.all(
    Array.from({ length: 20 }, async () => {
      for (let round = 0; round < rounds / 20; round += 1) {
        const lock = await redlock.lock('lock', 5000);
        assert.strictEqual(++holders, 1, 'two hold the lock');
        const before = counter;
        await client.ping();
        counter = before + 1;
        holders -= 1;
        await lock.unlock();
      }
    }),
  );
  assert.strictEqual(counter, Math.ceil(rounds / 20) * 20);
  const lock = await redlock.lock('lock', 300);
  const longer = await lock.extend(5000);
  assert.ok((await client.pttl('lock')) > 1000);
  await assert.rejects(new Redlock([client], { retryCount: 0 }).lock('lock', 100));
  await longer.unlock();
  assert.strictEqual(await client.exists('lock'), 0);
}

async function limiters(client) {
  const limiter = new RateLimiterRedis({ storeClient: client, keyPrefix: 'limit', points: 10, duration: 30 });
  const outcomes = await Promise.allSettled(Array.from({ length: 40 }, () => limiter.consume('user')));
  assert.strictEqual(outcomes.filter((outcome) => outcome.status === 'fulfilled').length, 10);
  const { remainingPoints, consumedPoints } = await limiter.get('user');
  assert.deepStrictEqual([remainingPoints, consumedPoints], [0, 40]);
  await limiter.delete('user');
  assert.strictEqual((await limiter.consume('user', 3)).remainingPoints, 7);
  const blocking = new RateLimiterRedis({ storeClient: client, keyPrefix: 'block', points: 1, duration: 1, blockDuration: 60 });
  await blocking.consume('user');
  const blocked = await blocking.consume('user').catch((refusal) => refusal);
  assert.ok(blocked.msBeforeNext > 50000, 'it is blocked for longer than the window');
  const bursty = new BurstyRateLimiter(
    new RateLimiterRedis({ storeClient: client, keyPrefix: 'steady', points: 2, duration: 30 }),
    new RateLimiterRedis({ storeClient: client, keyPrefix: 'burst', points: 3, duration: 30 }),
  );
  const bursts = await Promise.allSettled(Array.from({ length: 9 }, () => bursty.consume('user')));
  assert.strictEqual(bursts.filter((outcome) => outcome.status === 'fulfilled').length, 5);
}

async function scripts(client) {
  client.defineCommand('take', {
    numberOfKeys: 1,
    lua: `local n = tonumber(redis.call('GET', KEYS[1]) or ARGV[1])
          if n < 1 then return redis.error_reply('EMPTY nothing is left') end
          redis.call('SET', KEYS[1], n - 1, 'PX', 60000) return {n - 1, 'left'}`,
  });
  await client.script('FLUSH');
  for (let left = 4; left >= 0; left -= 1) assert.deepStrictEqual(await client.take('stock', 5), [left, 'left']);
  await assert.rejects(client.take('stock', 5), /^ReplyError: EMPTY nothing is left/);
  const replies = await client.pipeline().take('other', 2).take('other', 2).take('other', 2).exec();
  assert.deepStrictEqual(replies.map(([error]) => error === null), [true, true, false]);
}

async function main() {
  const client = new Redis({ host: '127.0.0.1', port });
  await locks(client);
  await limiters(client);
  await scripts(client);
  await client.quit();
  console.log(`ioredis: ${rounds} locks, limiters, scripts`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
