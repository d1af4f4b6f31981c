"""The errors of fc7. The service raises them, gRPC carries them as a status, and the client raises them again.

Fc7Error                     INTERNAL             fc7 has a bug
├── InvalidArgument          INVALID_ARGUMENT     a value breaks a rule
│   └── ImageDecodeError     INVALID_ARGUMENT     a picture cannot be decoded, or is too large
├── NotFound                 NOT_FOUND            a model, layer, collection, head, item or file does not exist
├── AlreadyExists            ALREADY_EXISTS       a name is taken
├── FailedPrecondition       FAILED_PRECONDITION  the current state does not allow the call
├── Aborted                  ABORTED              the data changed during the call
├── ResourceExhausted        RESOURCE_EXHAUSTED   a queue is full, or a message is too large
├── Unauthenticated          UNAUTHENTICATED      the token is missing or wrong
├── PermissionDenied         PERMISSION_DENIED    the token does not allow the call
├── Unavailable              UNAVAILABLE          the server is away or stopping
├── DeadlineExceeded         DEADLINE_EXCEEDED    the call did not finish in time
└── DataLoss                 DATA_LOSS            a file does not match its checksum
"""

# ruff: noqa: N818  # the classes bear the names of the gRPC codes

from __future__ import annotations

from fc7.contract.reasons import Reason as Reason  # part of this module for its users


class Fc7Error(Exception):
    """Base class of all errors of fc7. Raised as itself, it means that fc7 has a bug.

    Parameters
    ----------
    message
        What is wrong, the value, and what to do, in one or two sentences.
    name
        The field, item, collection or file that the error is about.
    reason
        The rule that was broken. Defaults to the general reason of the class.

    Attributes
    ----------
    message : str
        Text for people. It may change with every version.
    name : str
        The field, item, collection or file that the error is about; may be empty.
    reason : str
        Name of a `Reason`, for programs. A newer server may send a name that this version does not know.
    code : str
        Name of the gRPC status code.
    exit_code : int
        Exit code of the command line when a command ends with this error.
    index : int or None
        Position of the image in the caller's list, if one image ended the whole call.
    request_id : str
        Id of the call in the server's log. Empty if the server did not answer, or for the error of one item.

    Examples
    --------
    >>> try:
    ...     client.classify("query.jpg", head="garden")
    ... except fc7.NotFound as error:
    ...     print(error.reason, error.name)
    HEAD_NOT_FOUND garden
    """

    code = "INTERNAL"
    exit_code = 70
    default_reason = Reason.INTERNAL
    index: int | None = None
    request_id: str = ""

    def __init__(self, message: str, *, name: str = "", reason: Reason | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.name = name
        self.reason = (reason or self.default_reason).name


class InvalidArgument(Fc7Error, ValueError):
    """A value breaks a rule. Also a `ValueError`."""

    code, exit_code = "INVALID_ARGUMENT", 2
    default_reason = Reason.INVALID_ARGUMENT


class ImageDecodeError(InvalidArgument):
    """A picture cannot be decoded, or it has too many pixels. Also an `InvalidArgument`."""

    default_reason = Reason.IMAGE_DECODE_ERROR


class NotFound(Fc7Error, LookupError):
    """A model, layer, collection, head, item or file does not exist. Also a `LookupError`."""

    code, exit_code = "NOT_FOUND", 3
    default_reason = Reason.NOT_FOUND


class AlreadyExists(Fc7Error):
    """A name is taken."""

    code, exit_code = "ALREADY_EXISTS", 3
    default_reason = Reason.ALREADY_EXISTS


class FailedPrecondition(Fc7Error, RuntimeError):
    """The current state does not allow the call; for example, no head is published. Also a `RuntimeError`."""

    code, exit_code = "FAILED_PRECONDITION", 4
    default_reason = Reason.FAILED_PRECONDITION


class Aborted(Fc7Error):
    """The data changed during the call. Read it again, then repeat the call."""

    code, exit_code = "ABORTED", 4
    default_reason = Reason.ABORTED


class ResourceExhausted(Fc7Error):
    """A queue or the disk is full, or a message is too large.

    Parameters
    ----------
    message, name, reason
        See `Fc7Error`.
    retry_after_s
        Seconds to wait before the next attempt. None if repeating the call cannot help.

    Attributes
    ----------
    retry_after_s : float or None
        Seconds to wait before the next attempt. None if repeating the call cannot help.
    """

    code, exit_code = "RESOURCE_EXHAUSTED", 5
    default_reason = Reason.RESOURCE_EXHAUSTED

    def __init__(
        self, message: str, *, name: str = "", reason: Reason | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, name=name, reason=reason)
        self.retry_after_s = retry_after_s


class Unauthenticated(Fc7Error, PermissionError):
    """The token is missing or wrong. Also a `PermissionError`."""

    code, exit_code = "UNAUTHENTICATED", 6
    default_reason = Reason.UNAUTHENTICATED


class PermissionDenied(Fc7Error, PermissionError):
    """The token does not allow this call. Also a `PermissionError`."""

    code, exit_code = "PERMISSION_DENIED", 6
    default_reason = Reason.PERMISSION_DENIED


class Unavailable(Fc7Error, ConnectionError):
    """The server cannot be reached, or is stopping. Also a `ConnectionError`."""

    code, exit_code = "UNAVAILABLE", 7
    default_reason = Reason.UNAVAILABLE


class DeadlineExceeded(Fc7Error, TimeoutError):
    """The call did not finish in time. Also a `TimeoutError`."""

    code, exit_code = "DEADLINE_EXCEEDED", 7
    default_reason = Reason.DEADLINE_EXCEEDED


class DataLoss(Fc7Error):
    """A file of fc7 does not match its checksum."""

    code, exit_code = "DATA_LOSS", 8
    default_reason = Reason.DATA_LOSS


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
