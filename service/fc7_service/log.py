"""The log: one JSON object per line on standard error, written by a thread that no call waits for."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import MutableMapping
from typing import Any

import structlog

_STDERR = 2
_MOST_LINES = 4096  # waiting to be written: some megabytes
_GATHER_S = 0.05  # after a line, others gather: waking the thread for each would cost a call a tenth of its time
_FLUSH_S = 1.0  # for the lines that wait when the server ends

Event = MutableMapping[str, Any]


class JsonLog:
    """Writes events as JSON lines. If nobody reads them, they are dropped and counted, and the server continues.

    Warnings and errors of the standard library's loggers are written too. There is one per process. It writes to the
    file descriptor of standard error, not to Python's stream, because a stuck write would hold the lock of the stream.
    """

    def __init__(self) -> None:
        self._events: queue.Queue[Event | None] = queue.Queue(_MOST_LINES)
        self._n_dropped = 0
        self._is_closing = threading.Event()
        self._logger = structlog.wrap_logger(
            _Sink(self._put),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                _wrapped,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(0),
        ).bind()  # otherwise each line binds anew
        self._handler = _Handler(self)
        logging.getLogger().addHandler(self._handler)
        self._writer = threading.Thread(target=self._write, name="fc7-log", daemon=True)
        self._writer.start()

    def __call__(self, event: str, *, error: BaseException | None = None, **values: object) -> None:
        """Write one event with time and level; ``error`` adds its traceback."""
        if error is None:
            self._logger.info(event, **values)
        else:
            self._logger.error(event, exc_info=error, **values)

    def close(self) -> None:
        """Write the lines that wait, if somebody reads them."""
        logging.getLogger().removeHandler(self._handler)
        self._is_closing.set()
        self._put(None)
        self._writer.join(_FLUSH_S)

    def _put(self, event: Event | None) -> None:
        try:
            self._events.put_nowait(event)
        except queue.Full:
            self._n_dropped += 1

    def _write(self) -> None:
        render = structlog.processors.JSONRenderer()
        while (event := self._events.get()) is not None:
            _write_line(str(render(None, "", event)))
            n_dropped, self._n_dropped = self._n_dropped, 0
            if n_dropped:
                self._logger.warning("lines of this log were dropped, because nobody read them", dropped=n_dropped)
            if self._events.empty():
                self._is_closing.wait(_GATHER_S)


def _write_line(line: str) -> None:
    data = line.encode("utf-8", "backslashreplace") + b"\n"
    try:
        while data:
            data = data[os.write(_STDERR, data) :]
    except OSError:
        return  # the disk is full or the reader is gone; the line is lost


def _wrapped(logger: Any, name: str, event: Event) -> tuple[Any, ...]:
    """Hand an event on as it is: the thread that writes it makes the line."""
    return (event,), {}


class _Sink:
    """Receives the events of structlog."""

    def __init__(self, put: Any) -> None:
        self.info = self.warning = self.error = put


class _Handler(logging.Handler):
    """Turns warnings and errors of the standard library's loggers into events."""

    def __init__(self, log: JsonLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; one that cannot be formatted is written as it is, since a logger must not raise."""
        error = record.exc_info[1] if record.exc_info else None
        try:
            message = record.getMessage()
        except Exception as failure:
            message, error = f"{record.msg!r} with arguments that do not fit it", failure
        self._log(message, error=error, logger=record.name)
