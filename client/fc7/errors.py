"""The error family of fc7: raised by the service, sent as a gRPC status, raised again by the client.

Fc7Error                     INTERNAL             a bare one is a bug of ours
├── InvalidArgument          INVALID_ARGUMENT     a request breaks a declared rule
│   └── ImageDecodeError     INVALID_ARGUMENT     undecodable, or too many pixels
├── NotFound                 NOT_FOUND            no such model, layer, collection, head, item
├── AlreadyExists            ALREADY_EXISTS
├── FailedPrecondition       FAILED_PRECONDITION  provenance differs, head not published, ...
├── Aborted                  ABORTED              read again and retry
├── ResourceExhausted        RESOURCE_EXHAUSTED   queue full, message too large
├── Unauthenticated          UNAUTHENTICATED      token missing or wrong
├── PermissionDenied         PERMISSION_DENIED    the token's scope is too weak
├── Unavailable              UNAVAILABLE          server away or draining
├── DeadlineExceeded         DEADLINE_EXCEEDED    time over
└── DataLoss                 DATA_LOSS            a checksum of ours does not hold
"""

# ruff: noqa: N818  # the classes bear the names of the gRPC codes

from __future__ import annotations


class Fc7Error(Exception):
    """Base of the family.

    Parameters
    ----------
    message
        What, value, rule, next step, in one or two sentences.
    name
        The offending field, item, collection, ...; travels beside the text.
    """

    code = "INTERNAL"  # name of the gRPC status code
    exit_code = 70
    index: int | None = None  # of the image in the caller's list, where one image ended the call

    def __init__(self, message: str, *, name: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.name = name

    @property
    def reason(self) -> str:
        """Machine-readable reason: the class name in capitals with underscores."""
        text = type(self).__name__
        return "".join("_" + c if c.isupper() and i else c for i, c in enumerate(text)).upper()


class InvalidArgument(Fc7Error, ValueError):
    """A request breaks a declared rule."""

    code, exit_code = "INVALID_ARGUMENT", 2


class ImageDecodeError(InvalidArgument):
    """An image cannot be decoded or has too many pixels."""


class NotFound(Fc7Error, LookupError):
    """A model, layer, collection, head or item does not exist."""

    code, exit_code = "NOT_FOUND", 3


class AlreadyExists(Fc7Error):
    """A name is taken."""

    code, exit_code = "ALREADY_EXISTS", 3


class FailedPrecondition(Fc7Error, RuntimeError):
    """The state does not allow the call: provenance mismatch, unpublished head, folder in use."""

    code, exit_code = "FAILED_PRECONDITION", 4


class Aborted(Fc7Error):
    """The state moved on during the call; read again and retry."""

    code, exit_code = "ABORTED", 4


class ResourceExhausted(Fc7Error):
    """A queue, a quota or a message limit is full.

    Parameters
    ----------
    retry_after_s
        Seconds after which a retry may succeed; None where it cannot.
    """

    code, exit_code = "RESOURCE_EXHAUSTED", 5

    def __init__(self, message: str, *, name: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, name=name)
        self.retry_after_s = retry_after_s


class Unauthenticated(Fc7Error, PermissionError):
    """The token is missing or wrong."""

    code, exit_code = "UNAUTHENTICATED", 6


class PermissionDenied(Fc7Error, PermissionError):
    """The token's scope is too weak."""

    code, exit_code = "PERMISSION_DENIED", 6


class Unavailable(Fc7Error, ConnectionError):
    """The server is away or draining."""

    code, exit_code = "UNAVAILABLE", 7


class DeadlineExceeded(Fc7Error, TimeoutError):
    """No complete answer within the time given."""

    code, exit_code = "DEADLINE_EXCEEDED", 7


class DataLoss(Fc7Error):
    """A bundle, store or head does not match its checksum."""

    code, exit_code = "DATA_LOSS", 8


FAMILY: tuple[type[Fc7Error], ...] = (
    Fc7Error,
    InvalidArgument,
    ImageDecodeError,
    NotFound,
    AlreadyExists,
    FailedPrecondition,
    Aborted,
    ResourceExhausted,
    Unauthenticated,
    PermissionDenied,
    Unavailable,
    DeadlineExceeded,
    DataLoss,
)
