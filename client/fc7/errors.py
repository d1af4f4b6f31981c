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

from enum import Enum
from typing import NamedTuple


class Rule(NamedTuple):
    """One row of the table of reasons."""

    kind: str  # class of the error that carries it
    meaning: str  # what is wrong, and what to do


class Reason(Enum):
    """Why a call failed, for programs.

    The name travels as `ErrorInfo.reason`. `docs/reference/errors.md` shows this table.
    """

    INTERNAL = Rule("Fc7Error", "A bug of fc7. Report it with the incident id; the server's log has the details.")

    INVALID_ARGUMENT = Rule("InvalidArgument", "A value breaks its rule. The text says which; `name` is the field.")
    MALFORMED_MESSAGE = Rule("InvalidArgument", "The bytes are not the message that this method takes.")
    TOO_MANY_ITEMS = Rule("InvalidArgument", "The request holds more items than one may. Send it in parts.")
    UNKNOWN_ENUM_VALUE = Rule("InvalidArgument", "A field holds a number that its enum does not have.")
    INVALID_NAME = Rule("InvalidArgument", "No collection or head can have this name.")
    INVALID_ID = Rule("InvalidArgument", "An item's id is empty, too long, not text, or stands twice in one call.")
    INVALID_PAYLOAD = Rule("InvalidArgument", "A payload is not a JSON object, or too large.")
    INVALID_VECTOR = Rule("InvalidArgument", "A feature has the wrong shape, or numbers that cannot be compared.")
    NO_LABELS = Rule("InvalidArgument", "Nothing to train on: no item of the collection has the label field.")
    INVALID_LABEL = Rule("InvalidArgument", "A label in a payload is neither text nor a whole number.")
    TOO_FEW_IMAGES = Rule("InvalidArgument", "A head needs two classes, and two different pictures in each.")

    IMAGE_DECODE_ERROR = Rule("ImageDecodeError", "The picture cannot be decoded.")
    IMAGE_EMPTY = Rule("ImageDecodeError", "The picture has no bytes.")
    IMAGE_DAMAGED = Rule("ImageDecodeError", "The picture is truncated or damaged.")
    IMAGE_TOO_LARGE = Rule("ImageDecodeError", "The picture has too many bytes or pixels. Scale it down.")
    UNSUPPORTED_FORMAT = Rule("ImageDecodeError", "The bytes are no picture, or of a format that fc7 does not read.")

    NOT_FOUND = Rule("NotFound", "What `name` says does not exist.")
    MODEL_NOT_FOUND = Rule("NotFound", "The server has no model of this name.")
    LAYER_NOT_FOUND = Rule("NotFound", "The model has no layer of this name.")
    CLASS_NOT_FOUND = Rule("NotFound", "The classifier has no class of this name.")
    COLLECTION_NOT_FOUND = Rule("NotFound", "There is no collection of this name.")
    ITEM_NOT_FOUND = Rule("NotFound", "The collection has no item of this id.")
    HEAD_NOT_FOUND = Rule("NotFound", "There is no head of this name. Train it first.")
    HEAD_VERSION_NOT_FOUND = Rule("NotFound", "The head has no such version.")
    CONTENT_NOT_STORED = Rule("NotFound", "The id is not stored with the bytes that `content_sha256` names. Send them.")
    FILE_NOT_FOUND = Rule("NotFound", "A file named in the settings does not exist.")

    ALREADY_EXISTS = Rule("AlreadyExists", "The name is taken.")
    COLLECTION_EXISTS = Rule("AlreadyExists", "There is a collection of this name. Choose another, or delete it.")
    ID_FROM_OTHER_PATH = Rule("AlreadyExists", "Another path's picture has this id. Use another id, or replace it.")

    FAILED_PRECONDITION = Rule("FailedPrecondition", "The state does not allow the call. The text says what to do.")
    PROVENANCE_MISMATCH = Rule("FailedPrecondition", "The feature was made in another way than those it is to meet.")
    MODEL_NOT_SERVED = Rule("FailedPrecondition", "The server lacks the model that was named or set, or made the data.")
    HEAD_NOT_PUBLISHED = Rule("FailedPrecondition", "No version of the head is published. Publish one.")
    HEAD_PUBLISHED = Rule("FailedPrecondition", "The version is in use. Publish another first, or delete all of them.")
    NO_CLASSES = Rule("FailedPrecondition", "The model has no classes of its own. Name a head.")
    NO_DECONVNET = Rule("FailedPrecondition", "The model's bundle has no deconvnet. `fc7 explain occlude` works still.")
    NEWER_FORMAT = Rule("FailedPrecondition", "A newer fc7 wrote this. Upgrade.")
    DATA_FOLDER_IN_USE = Rule("FailedPrecondition", "Another process holds the data folder. Use its server.")
    CANNOT_LISTEN = Rule("FailedPrecondition", "The port is in use, or the address or certificate does not serve.")
    DEVICE_UNAVAILABLE = Rule("FailedPrecondition", "The device asked for cannot be had.")

    ABORTED = Rule("Aborted", "The state moved on during the call. Read again, then repeat it.")
    IMAGE_CHANGED = Rule("Aborted", "A picture is not the one that the call announced. Call again.")

    RESOURCE_EXHAUSTED = Rule("ResourceExhausted", "A limit is reached. The text says which.")
    QUEUE_FULL = Rule("ResourceExhausted", "Too much work waits already. Send it again after `retry_after_s`.")
    TOO_MANY_CALLS = Rule("ResourceExhausted", "Too many calls are under way. Send it again after `retry_after_s`.")
    ANSWER_TOO_LARGE = Rule("ResourceExhausted", "The answer would not fit one message. Ask for less.")
    WORK_TOO_LARGE = Rule("ResourceExhausted", "The call asks for more work than one may. Ask for less.")
    DISK_FULL = Rule("ResourceExhausted", "The disk is full; nothing was written. Free space, then repeat the call.")

    UNAUTHENTICATED = Rule("Unauthenticated", "The token is missing or wrong.")
    PERMISSION_DENIED = Rule("PermissionDenied", "The token's scope is too weak for this call.")

    UNAVAILABLE = Rule("Unavailable", "The server or a file of its data cannot be used now. Send the call again.")
    SERVER_STOPPING = Rule("Unavailable", "The server is stopping. Send the call again.")
    TOO_MANY_FILES = Rule("Unavailable", "The server has no file descriptor left. Send the call again.")
    DISK_FAILED = Rule("Unavailable", "The disk fails. Check it, then restart the server.")

    DEADLINE_EXCEEDED = Rule("DeadlineExceeded", "Time is over before the answer is complete.")
    ARRIVAL_TOO_SLOW = Rule("DeadlineExceeded", "The rest of a stream did not arrive in time. Call again.")

    DATA_LOSS = Rule("DataLoss", "A file of fc7 does not match its checksum. Restore it from a backup.")
    BUNDLE_DAMAGED = Rule("DataLoss", "A model's bundle is damaged. Get it again.")
    COLLECTION_DAMAGED = Rule("DataLoss", "The collection is set aside. Restore it from a backup, or delete it.")
    ITEM_DAMAGED = Rule("DataLoss", "The item does not match its checksum. Add it again.")
    HEAD_DAMAGED = Rule("DataLoss", "The head is damaged. Publish another version, or train it again.")


class Fc7Error(Exception):
    """Base of the family.

    Parameters
    ----------
    message
        What, value, rule, next step, in one or two sentences.
    name
        The offending field, item, collection, ...; travels beside the text.
    reason
        Which rule was broken; by default that the class stands for.

    Attributes
    ----------
    reason
        Name of a `Reason`, as it travels; of a newer server also one that this fc7 does not know.
    """

    code = "INTERNAL"  # name of the gRPC status code
    exit_code = 70
    default_reason = Reason.INTERNAL
    index: int | None = None  # of the image in the caller's list, where one image ended the call

    def __init__(self, message: str, *, name: str = "", reason: Reason | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.name = name
        self.reason = (reason or self.default_reason).name


class InvalidArgument(Fc7Error, ValueError):
    """A request breaks a declared rule."""

    code, exit_code = "INVALID_ARGUMENT", 2
    default_reason = Reason.INVALID_ARGUMENT


class ImageDecodeError(InvalidArgument):
    """An image cannot be decoded or has too many pixels."""

    default_reason = Reason.IMAGE_DECODE_ERROR


class NotFound(Fc7Error, LookupError):
    """A model, layer, collection, head or item does not exist."""

    code, exit_code = "NOT_FOUND", 3
    default_reason = Reason.NOT_FOUND


class AlreadyExists(Fc7Error):
    """A name is taken."""

    code, exit_code = "ALREADY_EXISTS", 3
    default_reason = Reason.ALREADY_EXISTS


class FailedPrecondition(Fc7Error, RuntimeError):
    """The state does not allow the call: provenance mismatch, unpublished head, folder in use."""

    code, exit_code = "FAILED_PRECONDITION", 4
    default_reason = Reason.FAILED_PRECONDITION


class Aborted(Fc7Error):
    """The state moved on during the call; read again and retry."""

    code, exit_code = "ABORTED", 4
    default_reason = Reason.ABORTED


class ResourceExhausted(Fc7Error):
    """A queue, a quota or a message limit is full.

    Parameters
    ----------
    retry_after_s
        Seconds after which a retry may succeed; None where it cannot.
    """

    code, exit_code = "RESOURCE_EXHAUSTED", 5
    default_reason = Reason.RESOURCE_EXHAUSTED

    def __init__(
        self, message: str, *, name: str = "", reason: Reason | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, name=name, reason=reason)
        self.retry_after_s = retry_after_s


class Unauthenticated(Fc7Error, PermissionError):
    """The token is missing or wrong."""

    code, exit_code = "UNAUTHENTICATED", 6
    default_reason = Reason.UNAUTHENTICATED


class PermissionDenied(Fc7Error, PermissionError):
    """The token's scope is too weak."""

    code, exit_code = "PERMISSION_DENIED", 6
    default_reason = Reason.PERMISSION_DENIED


class Unavailable(Fc7Error, ConnectionError):
    """The server is away or draining."""

    code, exit_code = "UNAVAILABLE", 7
    default_reason = Reason.UNAVAILABLE


class DeadlineExceeded(Fc7Error, TimeoutError):
    """No complete answer within the time given."""

    code, exit_code = "DEADLINE_EXCEEDED", 7
    default_reason = Reason.DEADLINE_EXCEEDED


class DataLoss(Fc7Error):
    """A bundle, store or head does not match its checksum."""

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
