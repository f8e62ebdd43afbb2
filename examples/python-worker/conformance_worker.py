"""The job types of the conformance kit (test/conformance/README.md) over workflow_worker.py.

Environment: COORDINATOR_URL, WORKER_ID, WORKER_SLOTS.
"""

import asyncio
import os
import time

from workflow_worker import JobError, Worker

runs = 0


def counted(handler):
    """Counts the handlers that began, and tells each its number."""

    async def call(job):
        global runs
        runs += 1
        run = runs
        return {"run": run, **await handler(job)}

    return call


async def echo(job):
    given = job.parameters
    return {"value": "x" * given["characters"] if "characters" in given else given.get("value")}


async def fail(job):
    given = job.parameters
    message = "x" * given["message_characters"] if "message_characters" in given else given.get("message", "")
    raise JobError(given["code"], message, given["retryable"])


async def sleep(job):
    for number in range(job.parameters.get("log", 0)):
        job.log(f"line {number + 1}")
    if "checkpoint" in job.parameters:
        job.set_checkpoint(job.parameters["checkpoint"])
    await asyncio.sleep(job.parameters["ms"] / 1000)
    return {"slept_ms": job.parameters["ms"]}


async def stubborn(job):
    until = time.monotonic() + job.parameters["ms"] / 1000
    while time.monotonic() < until:
        try:
            await asyncio.sleep(until - time.monotonic())
        except asyncio.CancelledError:
            pass
    return {"slept_ms": job.parameters["ms"]}


async def given_input(job):
    return {
        "parameters": job.parameters,
        "input": job.input,
        "attempt": job.number,
        "instance": job.instance,
        "checkpoint": job.checkpoint,
    }


async def main():
    worker = Worker(os.environ["COORDINATOR_URL"], os.environ["WORKER_ID"], int(os.environ["WORKER_SLOTS"]))
    for handler, name in ((echo, "echo"), (fail, "fail"), (sleep, "sleep"), (stubborn, "stubborn"), (given_input, "input")):
        worker.handle(f"conformance.{name}", counted(handler))
    await worker.run()


asyncio.run(main())
