"""One connection to a coordinator: frames in and out, and their numbers. Used by workflow_worker.py; rules (R5) are those of proto/PROTOCOL.md.

Invariant: what is sent is numbered when it is queued, and leaves in this order.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import websockets

sys.path.append(str(Path(__file__).parent / "gen"))
from workflow.v1 import worker_pb2 as pb  # noqa: E402  (made by ./generate)

FRAME_BYTES = 1024 * 1024  # R4
CONNECT_S = 5
# `additional_headers` since websockets 14.
HEADERS = "additional_headers" if int(websockets.version.version.split(".")[0]) >= 14 else "extra_headers"


class Link:
    """One connection: numbers, and frames on their way out."""

    def __init__(self, socket):
        self.socket, self.welcome = socket, pb.Welcome()
        self.sent = self.acked = self.handled = self.unread = 0  # R5, R6
        self.received = self.granted = 0  # R20
        self.heard_at = time.monotonic()
        self.leave = asyncio.Event()  # it is gone, or is about to go
        self.go_away_s = None
        self._queue = asyncio.Queue()
        self.writer = asyncio.create_task(self._write())

    def send(self, **body):
        self.sent += 1
        self._queue.put_nowait(pb.WorkerFrame(seq=self.sent, ack=self.handled, **body).SerializeToString())
        return self.sent

    def close(self, code):
        """Closes after what was sent."""
        self._queue.put_nowait(code)

    def complain(self, code, message, fatal=False):
        """R8; a fatal one ends the connection."""
        self.send(error=pb.ProtocolError(code=code, message=message, frame_seq=self.handled, fatal=fatal))
        if fatal:
            self.close(1002)

    def take(self, frame):
        """Whether a frame is to be handled; None when the connection cannot go on (R5, R6)."""
        if 0 < frame.seq <= self.handled:
            return False
        if frame.seq == 0 or frame.seq > self.handled + 1 + self.unread or frame.ack > self.sent:
            return None
        self.acked, self.handled, self.unread = max(self.acked, frame.ack), frame.seq, 0
        self.heard_at = time.monotonic()
        return True

    async def _write(self):
        try:
            while True:
                item = await self._queue.get()
                if isinstance(item, int):
                    await self.socket.close(item)
                    return
                await self.socket.send(item)
        except websockets.ConnectionClosed:
            pass  # the reader sees it too


async def connect(url, token):
    """R1, R2."""
    headers = {HEADERS: {"Authorization": f"Bearer {token}"}} if token else {}
    return Link(await websockets.connect(
        url, subprotocols=["workflow.worker.v1"], compression=None, max_size=FRAME_BYTES,
        open_timeout=CONNECT_S, ping_interval=None, close_timeout=1, **headers))  # fmt: skip


class Refused(Exception):
    """The coordinator did not take this worker."""


def retry_after(error):
    """Seconds that a refusal asks to wait (R54)."""
    headers = getattr(error, "headers", None) or getattr(getattr(error, "response", None), "headers", {})
    text = headers.get("Retry-After", "")
    return float(text) if text.isdigit() and int(text) <= 60 else 0.0


def stream_url(url):
    """`http(s)://host:port` as well as the address of the stream itself."""
    url = url.replace("http", "ws", 1) if url.startswith("http") else url
    return url if url.rstrip("/").endswith("/workers") else f"{url.rstrip('/')}/workers"


def parse(data):
    """The frame, or None when the message is none."""
    try:
        return pb.CoordinatorFrame.FromString(data) if isinstance(data, bytes) else None
    except Exception:  # DecodeError; other versions of the library raise others
        return None


def batches(entries, most_bytes):
    """Parts of `entries` that fit into a frame each (R4)."""
    parts, size = [], most_bytes
    for entry in entries:
        need = entry.ByteSize() + 8
        if size + need > most_bytes - 64 or len(parts[-1]) >= 10_000:
            parts.append([])
            size = 0
        parts[-1].append(entry)
        size += need
    return parts


def cut(text, most_bytes):
    return text.encode()[:most_bytes].decode(errors="ignore")


def read(payload):
    """R24."""
    return json.loads(payload.data) if payload.data else None


def write(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
