"""A worker in Python beside those in TypeScript: `statistics`, which they have not, and `validation` in a small form.

Environment: COORDINATOR_URL (default http://localhost:8000; several with commas), WORKER_ID, WORKER_SLOTS, WORKER_TYPES (default: both),
WORKFLOW_TOKEN. SIGTERM lets running jobs end.
"""

import asyncio
import logging
import os
import socket
import statistics

from workflow_worker import JobError, Worker

# What `schema:` may name: the JSON type, and the fields that must be there.
SCHEMAS = {"input-schema": (dict, []), "measurements": (dict, ["values"])}


async def describe(job):
    """What a list of numbers looks like. Python's own library does the work, in a thread: the event loop stays free for heartbeats."""
    given = job.input if isinstance(job.input, dict) else {"values": job.input}
    values = job.parameters.get("values", given.get("values"))
    if not isinstance(values, list) or not values or not all(type(value) in (int, float) for value in values):
        raise JobError("INVALID_INPUT", "values must be a list of numbers, with one at least")
    job.log(f"{len(values)} values")
    return await asyncio.to_thread(summary, values)


def summary(values):
    found = {"count": len(values), "mean": statistics.fmean(values), "median": statistics.median(values), "min": min(values), "max": max(values)}
    if len(values) > 1:
        found["deviation"] = statistics.stdev(values)
        found["quartiles"] = statistics.quantiles(values, n=4)
    return found


async def validate(job):
    """The data, if it is what the schema says; else a failure that no retry mends."""
    name = job.parameters.get("schema")
    if name not in SCHEMAS:
        raise JobError("UNKNOWN_CONNECTION", f"no schema '{name}'; known: {', '.join(SCHEMAS)}")
    data = job.parameters.get("data", job.input)
    kind, fields = SCHEMAS[name]
    problems = [] if isinstance(data, kind) else ["it is no object"]
    problems += [f"'{field}' is missing" for field in fields if isinstance(data, dict) and field not in data]
    if problems:
        raise JobError("VALIDATION_FAILED", f"the data does not fit '{name}': {', '.join(problems)}")
    return data


async def main():
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    worker = Worker(
        os.environ.get("COORDINATOR_URL", "http://localhost:8000").split(","),
        os.environ.get("WORKER_ID", f"python-{socket.gethostname()}-{os.getpid()}"),
        slots=int(os.environ.get("WORKER_SLOTS", "4")),
        token=os.environ.get("WORKFLOW_TOKEN"),
    )
    types = {"statistics": describe, "validation": validate}
    for name in os.environ.get("WORKER_TYPES", ",".join(types)).split(","):
        worker.handle(name, types[name])
    await worker.run()


asyncio.run(main())
