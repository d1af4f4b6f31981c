"""The log: one JSON object a line on standard error, written by a thread that nobody waits for."""

from __future__ import annotations

import logging
import os
import queue
import threading
from typing import Any

import structlog

_STDERR = 2
_MOST_LINES = 4096  # that wait to be written: some megabytes
_LAST_WORDS_S = 1.0  # for what waits when the server ends


class JsonLog:
    """Writes events as JSON lines. Where nobody reads them, they are dropped and counted; the server goes on.

    The standard library's warnings and errors go the same way. One a process: it writes to the file descriptor of
    standard error, and not through Python's own stream, whose lock a stuck write would hold.
    """

    def __init__(self) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue(_MOST_LINES)
        self._n_dropped = 0
        self._logger = structlog.wrap_logger(
            _Sink(self._put),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(0),
        )
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
        """Write what waits, if somebody reads it."""
        logging.getLogger().removeHandler(self._handler)
        self._put(None)
        self._writer.join(_LAST_WORDS_S)

    def _put(self, line: str | None) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._n_dropped += 1

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            _write_line(line)
            n_dropped, self._n_dropped = self._n_dropped, 0
            if n_dropped:
                self._logger.warning("lines of this log were dropped: nobody read them", dropped=n_dropped)


def _write_line(line: str) -> None:
    data = line.encode("utf-8", "backslashreplace") + b"\n"
    try:
        while data:
            data = data[os.write(_STDERR, data) :]
    except OSError:
        return  # a full disk, or a reader that is gone: the line is lost


class _Sink:
    """What structlog hands its lines to."""

    def __init__(self, put: Any) -> None:
        self.info = self.warning = self.error = put


class _Handler(logging.Handler):
    """The standard library's records of warnings and above, as events."""

    def __init__(self, log: JsonLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        error = record.exc_info[1] if record.exc_info else None
        self._log(record.getMessage(), error=error, logger=record.name)
