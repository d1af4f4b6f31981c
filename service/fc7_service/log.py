"""The request log: one JSON object a line on standard error."""

from __future__ import annotations

import contextlib
import sys

import structlog

from fc7_service.rpc.guard import Log


def json_log() -> Log:
    """Return a function that writes its keywords as one JSON line with time and level."""
    logger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(0),
    )

    def write(event: str, *, error: BaseException | None = None, **values: object) -> None:
        with contextlib.suppress(OSError, ValueError):  # a full disk or a dead reader of the log fails no call
            if error is None:
                logger.info(event, **values)
            else:
                logger.error(event, exc_info=error, **values)

    return write
