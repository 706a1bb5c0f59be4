"""A web server on this machine that misbehaves on request, and counts what it sends."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Web:
    """``files`` by path. ``cuts``: for the requests to come, after how many bytes the connection is cut (None: not)."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int | None] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)  # for the requests to come, instead of an answer
    ranges: bool = True
    tags: bool = True
    gate: threading.Event | None = None  # a connection that is to be cut stays silent until then
    sent: list[int] = field(default_factory=list)  # bytes of each answer
    asked: threading.Event = field(default_factory=threading.Event)  # set by the first request that was answered

    def url(self, path: str) -> str:
        return self.address + path


@contextmanager
def serving(web: Web) -> Iterator[Web]:
    class Handler(_Handler):
        pass

    Handler.web = web
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        web.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield web
        finally:
            if web.gate:
                web.gate.set()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    web: Web

    def do_GET(self) -> None:
        web = self.web
        content = web.files.get(self.path.partition("?")[0])
        if web.statuses:
            self.send_error(web.statuses.pop(0))
        elif content is None:
            self.send_error(404)
        else:
            self._answer(content, self._first(content))

    def _first(self, content: bytes) -> int:
        """The first byte that is asked for."""
        asked = self.headers.get("Range", "")
        version = self.headers.get("If-Range", _tag(content))
        if not self.web.ranges or not asked or version != _tag(content):
            return 0
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def _answer(self, content: bytes, first: int) -> None:
        if first >= len(content) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        if self.web.tags:
            self.send_header("ETag", _tag(content))
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        cut = self.web.cuts.pop(0) if self.web.cuts else None
        body = content[first:] if cut is None else content[first : first + cut]
        self.web.sent.append(len(body))
        self.wfile.write(body)
        self.wfile.flush()
        self.web.asked.set()
        if cut is not None and self.web.gate:
            self.web.gate.wait()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""


def _tag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:16]}"'
