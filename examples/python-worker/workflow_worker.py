"""A worker for the Workflow Orchestrator: the protocol of proto/PROTOCOL.md over asyncio. One connection is in stream.py, all else is here.

    worker = Worker(url, "my-worker", slots=4)
    worker.handle("greet", greet)           # async def greet(job): return {"hello": job.parameters["name"]}
    asyncio.run(worker.run())

Rules are cited by their numbers (R10). Invariants:
1. Everything here runs on one event loop; nothing between two awaits is interrupted, so no lock is needed.
2. An attempt is in `attempts`, and named in Hello, from its acceptance until its result was acked or its lease was lost.
3. `handlers` are the handlers that really run: they take slots, also those of attempts that were forgotten (R42).
"""

import asyncio
import logging
import random
import signal
import time
import uuid

import websockets
from stream import FRAME_BYTES, Refused, batches, connect, cut, parse, pb, read, retry_after, stream_url, write
from workflow.v1.event_pb2 import JobError as WireError
from workflow.v1.payload_pb2 import Payload

OUTPUT_BYTES, MESSAGE_BYTES, CHECKPOINT_BYTES, LINE_BYTES = 256 * 1024, 4 * 1024, 64 * 1024, 8 * 1024  # R43, R60
WELCOME_S, HEARTBEAT_S, LEASE_S, RESEND_S, GRACE_S = 10, 2, 8, 15, 2  # R14, R30, R31, R40, R33

log = logging.getLogger("worker")


class JobError(Exception):
    """How a handler fails with a code. Any other exception is HANDLER_ERROR, retryable."""

    def __init__(self, code, message, retryable=False):
        super().__init__(message)
        self.code, self.retryable = code, retryable


class Job:
    """What a handler gets. It is cancelled as any asyncio task is: clean up and let CancelledError pass."""

    def __init__(self, attempt):
        self._attempt = attempt
        given = attempt.assignment
        self.id, self.type, self.number, self.instance = given.job_id, given.type, given.attempt, given.instance
        self.workflow_id, self.idempotency_key = given.workflow_id, given.idempotency_key
        self.parameters = read(given.parameters)
        inputs = {named.job_id: read(named.payload) for named in given.inputs}
        self.input = next(iter(inputs.values())) if len(given.inputs) == 1 else inputs  # R24
        self.checkpoint = read(given.checkpoint) if given.HasField("checkpoint") else None

    def progress(self, fraction, message=""):
        """Says how far it is, 0 to 1."""
        self._attempt.progress, self._attempt.lived_at = (min(1.0, max(0.0, fraction)), message[:200]), time.monotonic()

    def set_checkpoint(self, value):
        """Stores how far it is for the next attempt; the latest wins."""
        data = write(value)
        if len(data) > CHECKPOINT_BYTES:
            raise JobError("BAD_CHECKPOINT", f"the checkpoint has {len(data)} bytes, more than {CHECKPOINT_BYTES}")
        self._attempt.checkpoint, self._attempt.checkpoint_seq, self._attempt.lived_at = data, 0, time.monotonic()

    def log(self, message):
        """A line for `wf logs`; it is lost while there is no connection (R60)."""
        self._attempt.worker._log_line(self._attempt, message)


class Attempt:
    """One attempt that this worker holds."""

    def __init__(self, worker, assignment):
        self.worker, self.assignment, self.token = worker, assignment, assignment.lease_token
        self.accepted_at = self.lived_at = time.monotonic()
        self.handler = None  # the task
        self.cancelled = False  # it was told to stop
        self.result = None  # it has ended; waits for its ack
        self.sent_at = None  # when the result was sent on the present link
        self.progress = None
        self.checkpoint, self.checkpoint_seq = None, 0  # until a Heartbeat that told it was acked
        self.lines = self.line_bytes = self.lines_dropped = 0

    def named(self):
        """The fields by which Hello, results and lines name it."""
        given = self.assignment
        return dict(lease_token=self.token, workflow_id=given.workflow_id, job_id=given.job_id, attempt=given.attempt)

    def running_ms(self):
        return int((time.monotonic() - self.accepted_at) * 1000)


class Worker:
    """Connects, stays connected, and runs what it is given. `urls`: addresses of coordinators, tried in turn."""

    def __init__(self, urls, worker_id, slots=4, token=None, labels=None):
        self.urls = [stream_url(url) for url in ([urls] if isinstance(urls, str) else urls)]
        self.id, self.slots, self.token, self.labels = worker_id, slots, token, labels or {}
        self.instance, self.connections, self.session = uuid.uuid4().hex, 0, ""
        self.learned, self.welcomed = [], None
        self.types = {}
        self.attempts, self.handlers = {}, set()
        self.tasks = set()
        self.link = None  # the welcomed connection in use
        self.draining = False
        self.done = asyncio.Event()
        self.broken_at = 0.0

    def handle(self, type_name, handler):
        """Registers `async def handler(job)`; what it returns, as JSON, is the output of the job."""
        self.types[type_name] = handler

    async def run(self):
        """Runs until it was drained: by SIGTERM, SIGINT or the coordinator."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.drain)
        keeper = asyncio.create_task(self._keep_connected())
        await asyncio.wait({keeper, asyncio.create_task(self.done.wait())}, return_when=asyncio.FIRST_COMPLETED)
        if keeper.done():
            keeper.result()  # never ends by itself: an error of this file
        keeper.cancel()
        if self.link is not None:
            self.link.close(1000)  # R34
            await self.link.writer

    def drain(self):
        """R51: no more work; ends when everything was delivered."""
        if not self.draining:
            self.draining = True
            if self.link is not None:
                self.link.send(drain=pb.Drain(reason="the worker ends"))
        self._end_if_done()

    # --- connection ---

    async def _keep_connected(self):
        """Rounds over all addresses, without limit; a pause comes after a round, not within it (R54)."""
        failures, away = 0, None
        while True:
            asked_s = 0.0
            for url in self._round(away):
                try:
                    link = await self._greet(url)
                    break
                except (OSError, asyncio.TimeoutError, websockets.WebSocketException, Refused) as error:
                    asked_s = max(asked_s, retry_after(error))
                    log.warning("%s: %s", url, error or type(error).__name__)
            else:
                failures += 1
                await self._pause(failures, asked_s)
                continue
            failures, old, self.link = 0, self.link, link
            if old is not None:
                old.close(1001)  # R53
            self.welcomed, away = url, None
            self._begin(link)
            await link.leave.wait()
            if link.go_away_s is None:
                await self._pause(0, 0.0)
            else:
                away = url
                await asyncio.sleep(link.go_away_s)

    def _round(self, away):
        """Each address once: those that a coordinator named, the one that welcomed last, the program's own; the one that goes away comes last."""
        urls = dict.fromkeys([*self.learned, *([self.welcomed] if self.welcomed else []), *self.urls])
        return sorted(urls, key=lambda url: url == away)

    async def _pause(self, failures, asked_s):
        """Grows, by chance, and stays short while leases may hold (R54)."""
        urgent = self.attempts and time.monotonic() - self.broken_at < GRACE_S
        pause_s = min(0.2 if urgent else 5.0, 0.1 * 2 ** min(failures, 6)) * (0.5 + random.random() / 2)
        await asyncio.sleep(max(pause_s, asked_s * (1 + random.random())))

    async def _greet(self, url):
        """A welcomed connection (R10 to R15)."""
        link = await connect(url, self.token)
        self._hello(link)
        deadline = time.monotonic() + WELCOME_S
        while True:
            left_s = deadline - time.monotonic()
            try:
                data = await asyncio.wait_for(link.socket.recv(), max(0.0, min(HEARTBEAT_S, left_s)))
                break
            except asyncio.TimeoutError:
                if time.monotonic() >= deadline:
                    link.close(4004)
                    raise
                link.send(heartbeat=pb.Heartbeat())
            except asyncio.CancelledError:
                link.close(1000)  # the worker ends
                raise
        frame = parse(data)
        if frame is not None and frame.WhichOneof("body") == "error":
            link.close(1001)
            raise Refused(f"{frame.error.code}: {frame.error.message}")
        if frame is None or not link.take(frame) or frame.WhichOneof("body") != "welcome":
            link.complain("BAD_FRAME", "the first frame was not welcome", fatal=True)
            raise Refused("the first frame was not welcome")
        link.welcome = frame.welcome
        return link

    def _hello(self, link):
        self.connections += 1
        held = [
            pb.InFlight(**a.named(), instance=a.assignment.instance, result_waiting=a.result is not None, running_ms=a.running_ms())
            for a in self.attempts.values()
        ]
        parts = batches(held, FRAME_BYTES // 2) or [[]]
        for place, part in enumerate(parts):
            hello = pb.Hello(in_flight=part, partial=place < len(parts) - 1)
            if place == 0:
                hello.MergeFrom(pb.Hello(
                    min_protocol=1, max_protocol=1, worker_id=self.id, instance_id=self.instance, sdk="python-worker 1",
                    labels=self.labels, capabilities=[pb.Capability(type=name) for name in self.types],
                    last_session_id=self.session, slots=self.slots, connection=self.connections))  # fmt: skip
            link.send(hello=hello)

    def _begin(self, link):
        """After Welcome (R15): what was abandoned goes, what waits is sent."""
        self.session = link.welcome.session_id
        self.learned = [stream_url(url) for url in link.welcome.coordinator_urls]
        for verdict in link.welcome.verdicts:
            if verdict.verdict == pb.InFlightVerdict.ABANDON:
                self._forget(verdict.lease_token)
        for attempt in self.attempts.values():
            attempt.sent_at, attempt.checkpoint_seq = None, 0
        for work in (self._read(link), self._beat(link)):
            task = asyncio.create_task(work)  # asyncio itself holds tasks weakly
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        if self.draining:
            link.send(drain=pb.Drain(reason="the worker ends"))
        self._send_results()
        self._send_credit()
        self._end_if_done()

    def _lost(self, link):
        link.leave.set()
        if self.link is link:
            self.link, self.broken_at = None, time.monotonic()
        self._end_if_done()

    async def _read(self, link):
        try:
            async for data in link.socket:
                frame = parse(data)
                if frame is None:
                    link.unread += 1
                    link.complain("BAD_FRAME", "the message is no CoordinatorFrame")
                    continue
                taken = link.take(frame)
                if taken is None:
                    link.complain("BAD_FRAME", f"frame {frame.seq}/{frame.ack} came after {link.handled}/{link.sent}", fatal=True)
                    break
                if taken:
                    self._receive(link, frame)
        except websockets.ConnectionClosed as closed:
            log.warning("%s", closed)
        self._lost(link)

    async def _beat(self, link):
        """Heartbeats, the watch for silence (R31), and results that are not acked for long (R40)."""
        interval_s, lease_s = link.welcome.heartbeat_interval_ms / 1000 or HEARTBEAT_S, link.welcome.lease_ms / 1000 or LEASE_S
        beat_at = time.monotonic() + interval_s
        while self.link is link:
            now = time.monotonic()
            if now - link.heard_at >= lease_s:
                link.close(4002)
                return self._lost(link)
            if now >= beat_at:
                beat_at = now + interval_s
                self._send_heartbeat(link)
                late = [a for a in self.attempts.values() if a.sent_at is not None and now - a.sent_at >= RESEND_S]
                for attempt in late:
                    attempt.sent_at = None
                self._send_results()
            await asyncio.sleep(max(0.0, min(beat_at, link.heard_at + lease_s) - time.monotonic()))

    # --- what the coordinator says ---

    def _receive(self, link, frame):
        kind = frame.WhichOneof("body")
        if kind == "assignments":
            link.send(assign_replies=pb.AssignReplies(replies=[self._answer(link, given) for given in frame.assignments.assignments]))
        elif kind == "heartbeat_reply":
            for token in frame.heartbeat_reply.lost:
                self._forget(token)
            for token in frame.heartbeat_reply.cancel:
                self._cancel(token)
        elif kind == "result_acks":  # R41: whatever the verdict
            for ack in frame.result_acks.acks:
                if ack.lease_token in self.attempts and self.attempts[ack.lease_token].result is not None:
                    del self.attempts[ack.lease_token]
        elif kind == "cancel":
            for token in frame.cancel.lease_tokens:
                self._cancel(token)
        elif kind == "drain":
            self.drain()
        elif kind == "go_away":
            link.go_away_s = frame.go_away.reconnect_delay_ms / 1000
            link.leave.set()
        elif kind == "error":
            log.warning("the coordinator says %s: %s", frame.error.code, frame.error.message)
        else:  # R7
            link.complain("UNEXPECTED_FRAME", f"frame {frame.seq} has no body that is expected here")
        self._send_credit()
        self._end_if_done()

    def _answer(self, link, given):
        """R22, R23."""
        link.received += 1
        reason = ""
        if given.lease_token not in self.attempts:
            if self.draining:
                reason = "draining"
            elif given.type not in self.types:
                reason = "no handler"
            elif len(self.handlers) >= self.slots:
                reason = "no slot"
            else:
                self._start(given)
        return pb.AssignReply(lease_token=given.lease_token, accepted=not reason, reason=reason)

    # --- attempts ---

    def _start(self, given):
        attempt = self.attempts[given.lease_token] = Attempt(self, given)
        attempt.handler = asyncio.create_task(self._call(attempt))
        self.handlers.add(attempt.handler)
        attempt.handler.add_done_callback(lambda task: self._returned(attempt, task))
        if given.run_timeout_ms > 0:  # R25
            asyncio.get_running_loop().call_later(given.run_timeout_ms / 1000, self._time_out, attempt)

    async def _call(self, attempt):
        try:
            job = Job(attempt)
        except ValueError as error:
            raise JobError("INVALID_INPUT", f"what the job was given is no JSON: {error}") from error
        output = await self.types[job.type](job)
        try:
            return write(output)
        except (TypeError, ValueError) as error:
            raise JobError("OUTPUT_NOT_JSON", f"the output is no JSON: {error}") from error

    def _returned(self, attempt, task):
        self.handlers.discard(task)
        error = None if task.cancelled() else task.exception()
        if attempt.token in self.attempts and attempt.result is None:
            if not task.cancelled() and error is None:
                data = task.result()
                if len(data) <= OUTPUT_BYTES:
                    self._end(attempt, output=Payload(data=data))
                else:  # R43
                    self._fail(attempt, "OUTPUT_TOO_LARGE", f"the output has {len(data)} bytes, more than {OUTPUT_BYTES}", False)
            elif attempt.cancelled:  # R50: whatever it raised is how it stopped
                self._end(attempt, cancelled=pb.Result.Cancelled())
            elif isinstance(error, JobError):
                self._fail(attempt, error.code, str(error), error.retryable)
            else:
                self._fail(attempt, "HANDLER_ERROR", f"{type(error).__name__}: {error}", True)
        self._send_credit()

    def _time_out(self, attempt):
        if attempt.token in self.attempts and attempt.result is None and not attempt.cancelled:
            self._fail(attempt, "TIMEOUT", f"ran longer than {attempt.assignment.run_timeout_ms} ms", True)
            attempt.handler.cancel()

    def _fail(self, attempt, code, message, retryable):
        self._end(attempt, error=WireError(code=code, message=cut(message, MESSAGE_BYTES), retryable=retryable))

    def _end(self, attempt, **outcome):
        attempt.result = pb.Result(**attempt.named(), instance=attempt.assignment.instance, running_ms=attempt.running_ms(), **outcome)
        self._send_results()

    def _cancel(self, token):
        attempt = self.attempts.get(token)
        if attempt is not None and attempt.result is None and not attempt.cancelled:
            attempt.cancelled = True
            attempt.handler.cancel()

    def _forget(self, token):
        """The lease is gone (R42)."""
        attempt = self.attempts.pop(token, None)
        if attempt is not None:
            attempt.handler.cancel()

    def _end_if_done(self):
        if self.draining and not self.attempts:
            self.done.set()

    # --- what this worker says ---

    def _send_credit(self):
        link = self.link
        granted = link.received + max(0, self.slots - len(self.handlers)) if link is not None else 0
        if link is not None and not self.draining and granted > link.granted:
            link.granted = granted
            link.send(credit=pb.Credit(granted=granted))

    def _send_results(self):
        """Those that were not sent on this link (R40)."""
        link = self.link
        waiting = [a for a in self.attempts.values() if a.result is not None and a.sent_at is None]
        if link is None or not waiting:
            return
        frame_bytes = link.welcome.max_frame_bytes or FRAME_BYTES
        for attempt in waiting:
            attempt.sent_at = time.monotonic()
            if attempt.checkpoint is not None and attempt.result.HasField("error"):  # R26
                beat = pb.LeaseBeat(lease_token=attempt.token, checkpoint=Payload(data=attempt.checkpoint))
                link.send(heartbeat=pb.Heartbeat(leases=[beat], partial=True))
        for part in batches([a.result for a in waiting], frame_bytes):
            link.send(results=pb.Results(results=part))

    def _send_heartbeat(self, link):
        """Every attempt that has not ended (R30)."""
        running = [a for a in self.attempts.values() if a.result is None]
        beats = []
        for attempt in running:
            if attempt.checkpoint is not None and 0 < attempt.checkpoint_seq <= link.acked:
                attempt.checkpoint = None
            beat = pb.LeaseBeat(lease_token=attempt.token, idle_ms=int((time.monotonic() - attempt.lived_at) * 1000))
            if attempt.progress is not None:
                beat.progress, beat.progress_message = attempt.progress
            if attempt.checkpoint is not None:
                beat.checkpoint.data = attempt.checkpoint
            beats.append(beat)
        parts = batches(beats, link.welcome.max_frame_bytes or FRAME_BYTES) or [[]]
        for place, part in enumerate(parts):
            seq = link.send(heartbeat=pb.Heartbeat(leases=part, partial=place < len(parts) - 1))
            for beat in part:
                if beat.HasField("checkpoint"):
                    self.attempts[beat.lease_token].checkpoint_seq = seq

    def _log_line(self, attempt, message):
        attempt.lines += 1
        text = cut(message, LINE_BYTES)
        link = self.link
        if link is None or attempt.result is not None or attempt.line_bytes + len(text) > (link.welcome.max_log_bytes or 1024 * 1024):
            attempt.lines_dropped += 1
            return
        attempt.line_bytes += len(text)
        line = pb.LogLine(**attempt.named(), time_ms=int(time.time() * 1000), level=pb.LogLine.INFO, message=text,
                          dropped=attempt.lines_dropped, number=attempt.lines)  # fmt: skip
        attempt.lines_dropped = 0
        link.send(log_lines=pb.LogLines(lines=[line]))
