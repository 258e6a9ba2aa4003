// BullMQ: jobs of which some are delayed, some fail once and are tried again, some fail for good, and one waits for
// its children. Usage: queue.js PORT JOBS
'use strict';
const assert = require('node:assert');
const { Queue, QueueEvents, Worker, FlowProducer } = require('bullmq');

const [port, jobs] = process.argv.slice(2).map(Number);
const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null };
const delayed = (n) => n % 10 === 3;
const failsOnce = (n) => n % 10 === 5;
const failsAlways = (n) => n % 100 === 7;

async function main() {
  const queue = new Queue('work', { connection });
  const events = new QueueEvents('work', { connection });
  await events.waitUntilReady();
  const runs = new Map();
  let ended = 0;
  let tooEarly = 0;
  let finish;
  const finished = new Promise((resolve) => (finish = resolve));
  const end = () => ++ended === jobs && finish();

  const worker = new Worker(
    'work',
    async (job) => {
      const n = job.data.n;
      const run = (runs.get(n) || 0) + 1;
      runs.set(n, run);
      if (delayed(n) && Date.now() < job.timestamp + job.opts.delay) tooEarly += 1;
      if (failsAlways(n) || (failsOnce(n) && run === 1)) throw new Error(`job ${n}`);
      return n * 2;
    },
    { connection, concurrency: 50 },
  );
  worker.on('completed', (job, result) => {
    assert.strictEqual(result, job.data.n * 2);
    end();
  });
  worker.on('failed', (job) => job.attemptsMade >= job.opts.attempts && end());
  worker.on('error', (error) => {
    throw error;
  });

  for (let from = 0; from < jobs; from += 500) {
    const bulk = [];
    for (let n = from; n < Math.min(from + 500, jobs); n += 1) {
      const opts = { attempts: 3, backoff: { type: 'fixed', delay: 20 }, priority: n % 4 };
      if (delayed(n)) opts.delay = 50 + (n % 200);
      bulk.push({ name: 'job', data: { n }, opts });
    }
    await queue.addBulk(bulk);
  }
  await finished;

  const count = (is) => Array.from({ length: jobs }, (_, n) => n).filter(is).length;
  const expected = { completed: jobs - count(failsAlways), failed: count(failsAlways), wait: 0, active: 0, delayed: 0 };
  const seen = await queue.getJobCounts(...Object.keys(expected));
  assert.deepStrictEqual(seen, expected);
  assert.strictEqual(tooEarly, 0);
  for (const [n, run] of runs) {
    assert.strictEqual(run, failsAlways(n) ? 3 : failsOnce(n) ? 2 : 1, `runs of job ${n}`);
  }
  assert.strictEqual(runs.size, jobs);
  await worker.close();

  const flow = new FlowProducer({ connection });
  const steps = new Worker('steps', async (job) => (job.name === 'parent' ? Object.values(await job.getChildrenValues()).reduce((a, b) => a + b) : job.data.n), {
    connection,
  });
  const stepEvents = new QueueEvents('steps', { connection });
  await stepEvents.waitUntilReady();
  const tree = await flow.add({
    name: 'parent',
    queueName: 'steps',
    children: [1, 2, 3].map((n) => ({ name: 'child', queueName: 'steps', data: { n } })),
  });
  assert.strictEqual(await tree.job.waitUntilFinished(stepEvents, 20000), 6);
  await Promise.all([steps.close(), flow.close(), stepEvents.close(), events.close()]);
  await queue.obliterate({ force: true });
  await queue.close();
  console.log(`bullmq: ${jobs} jobs, ${expected.failed} failed for good`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
