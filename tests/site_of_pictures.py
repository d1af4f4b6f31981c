"""A web server on loopback that serves one picture, and does what web servers do besides."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PICTURE = b"\xff\xd8 a picture" * 1000


class Handler(BaseHTTPRequestHandler):
    """Answers by the path."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        name, picture = self.path.partition("?")[0], self.server.picture  # type: ignore[attr-defined]
        if name.startswith(("/to/", "/loop")):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))  # of /loop itself
            self.end_headers()
        elif name == "/picture.jpg":
            self.send_response(200)
            self.send_header("Content-Length", str(len(picture)))
            self.end_headers()
            self.wfile.write(picture)
        elif name == "/unsized":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(picture)
        elif name == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", str(len(picture)))
            self.end_headers()
            self.wfile.write(picture[:-10])
        elif name == "/slow":
            self.send_response(200)
            self.end_headers()
            while not self.server.stopped.wait(0.02):  # type: ignore[attr-defined]
                self.wfile.write(b"x")
        else:
            self.send_error(int(name.removeprefix("/status/") if name.startswith("/status/") else 404))

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class Site(ThreadingHTTPServer):
    """A web server on loopback."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.picture = PICTURE
        self.stopped = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *args: object) -> None:
        """A client that leaves is no error."""


@contextmanager
def running() -> Iterator[Site]:
    site = Site()
    thread = threading.Thread(target=site.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield site
    finally:
        site.stopped.set()
        site.shutdown()
        site.server_close()
        thread.join()
