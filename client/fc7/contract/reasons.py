"""The reasons of errors: why a call failed, as a constant that programs can compare."""

from __future__ import annotations

from enum import Enum, unique
from typing import NamedTuple


class ReasonRow(NamedTuple):
    """One row of the table of reasons."""

    error_class: str  # name of the class that carries the reason
    meaning: str  # what is wrong
    remedy: str  # what the caller can do about it


@unique
class Reason(Enum):
    """Why a call failed, for programs.

    The name of a member travels as `ErrorInfo.reason` and stands in `Fc7Error.reason`. The table of reasons in
    `docs/reference/errors.md` is written from this class.
    """

    INTERNAL = ReasonRow(
        "Fc7Error",
        "fc7 has a bug.",
        "Report it with the incident id that is in the message. The server's log has the details.",
    )

    INVALID_ARGUMENT = ReasonRow(
        "InvalidArgument",
        "A value breaks a rule.",
        "Read the message: it states the rule; `name` is the field that breaks it.",
    )
    MALFORMED_MESSAGE = ReasonRow(
        "InvalidArgument",
        "The bytes are not the message that this method takes.",
        "Build the request from the `.proto` files of this version.",
    )
    TOO_MANY_ITEMS = ReasonRow("InvalidArgument", "The request holds too many items.", "Send it in several requests.")
    UNKNOWN_ENUM_VALUE = ReasonRow(
        "InvalidArgument",
        "A field holds a number that its enum does not define.",
        "Use a value from the `.proto` files, or upgrade the server.",
    )
    INVALID_NAME = ReasonRow(
        "InvalidArgument",
        "The name is not allowed for a collection or a head.",
        "Use 1 to 64 letters, digits, `.`, `_` or `-`, and do not start with `.`.",
    )
    INVALID_ID = ReasonRow(
        "InvalidArgument",
        "An item id is empty, too long, not text, or used twice in one call.",
        "Give every item an id of its own.",
    )
    INVALID_PAYLOAD = ReasonRow(
        "InvalidArgument",
        "A payload is not a JSON object that can be stored unchanged, or it is too large.",
        "Send a JSON object of at most 64 KiB.",
    )
    INVALID_FILTER = ReasonRow(
        "InvalidArgument",
        "A filter cannot be read, or it is too large.",
        "Read the message: it names the place or the rule.",
    )
    INVALID_PAGE_TOKEN = ReasonRow(
        "InvalidArgument",
        "A page token is not one that the server returned, or it belongs to another collection, filter or order.",
        "Send the same request as for the first page, or begin again without a token.",
    )
    INVALID_VECTOR = ReasonRow(
        "InvalidArgument",
        "A feature has the wrong length, or it contains NaN or infinity.",
        "Send the feature as `extract` returned it.",
    )
    NO_LABELS = ReasonRow(
        "InvalidArgument",
        "No item of the collection has the label field.",
        "Name the field that holds your labels, or add it to the payloads.",
    )
    INVALID_LABEL = ReasonRow(
        "InvalidArgument",
        "A label is not a line of text, or one in a payload is neither text nor an integer.",
        "Use labels of 1 to 256 characters without line breaks.",
    )
    TOO_FEW_IMAGES = ReasonRow(
        "InvalidArgument",
        "There are too few images to train on.",
        "Give at least two classes, with at least two different images in each.",
    )

    IMAGE_DECODE_ERROR = ReasonRow(
        "ImageDecodeError", "The image cannot be decoded.", "Open it in another program and save it again."
    )
    IMAGE_EMPTY = ReasonRow("ImageDecodeError", "The image has no bytes.", "Check where the file comes from.")
    IMAGE_DAMAGED = ReasonRow("ImageDecodeError", "The image is truncated or damaged.", "Get the file again.")
    IMAGE_TOO_LARGE = ReasonRow("ImageDecodeError", "The image has too many bytes or pixels.", "Scale it down.")
    UNSUPPORTED_FORMAT = ReasonRow(
        "ImageDecodeError",
        "The bytes are not an image, or fc7 does not read the format.",
        "Convert it to JPEG or PNG.",
    )

    NOT_FOUND = ReasonRow("NotFound", "The thing called `name` does not exist.", "Check the name.")
    MODEL_NOT_FOUND = ReasonRow(
        "NotFound", "The server has no model with this name.", "List the models with `fc7 model list`."
    )
    LAYER_NOT_FOUND = ReasonRow(
        "NotFound", "The model has no layer with this name.", "List the layers with `fc7 model show`."
    )
    CLASS_NOT_FOUND = ReasonRow(
        "NotFound", "The classifier has no class with this name.", "Use one of the classes that the message names."
    )
    COLLECTION_NOT_FOUND = ReasonRow(
        "NotFound", "There is no collection with this name.", "List the collections with `fc7 collection list`."
    )
    ITEM_NOT_FOUND = ReasonRow("NotFound", "The collection has no item with this id.", "Check the id.")
    LABEL_NOT_FOUND = ReasonRow("NotFound", "The item has no such label record.", "List its records with `fc7 label`.")
    HEAD_NOT_FOUND = ReasonRow("NotFound", "There is no head with this name.", "Train it first, or check the name.")
    HEAD_VERSION_NOT_FOUND = ReasonRow(
        "NotFound", "The head has no such version.", "List the versions with `fc7 head list --all`."
    )
    CONTENT_NOT_STORED = ReasonRow(
        "NotFound",
        "The item does not hold the bytes that `content_sha256` names.",
        "Send the bytes. The Python client does so by itself.",
    )
    FILE_NOT_FOUND = ReasonRow("NotFound", "The file does not exist.", "Check the path.")

    ALREADY_EXISTS = ReasonRow("AlreadyExists", "The name is taken.", "Choose another name.")
    COLLECTION_EXISTS = ReasonRow(
        "AlreadyExists",
        "There is already a collection with this name.",
        "Choose another name, or delete the collection.",
    )
    ID_FROM_OTHER_PATH = ReasonRow(
        "AlreadyExists", "The id belongs to an image from another path.", "Use another id, or replace the item."
    )

    FAILED_PRECONDITION = ReasonRow(
        "FailedPrecondition", "The current state does not allow the call.", "Read the message: it says what to change."
    )
    PROVENANCE_MISMATCH = ReasonRow(
        "FailedPrecondition",
        "The features were made with different networks or preprocessing.",
        "Extract both with the same model and layer.",
    )
    MODEL_NOT_SERVED = ReasonRow(
        "FailedPrecondition",
        "The server does not serve the model that is needed.",
        "Start it with the model: `fc7 serve --model NAME`.",
    )
    HEAD_NOT_PUBLISHED = ReasonRow(
        "FailedPrecondition", "No version of the head is published.", "Publish one with `fc7 head publish`."
    )
    MODEL_IS_DEFAULT = ReasonRow(
        "FailedPrecondition",
        "The model is the server's default model.",
        "Make another one the default first: `fc7 model load BUNDLE --default`.",
    )
    HEAD_PUBLISHED = ReasonRow(
        "FailedPrecondition", "The version is published.", "Publish another version first, or delete the whole head."
    )
    HEAD_WITHOUT_REPORT = ReasonRow(
        "FailedPrecondition", "The version was trained before heads had reports.", "Train the head again."
    )
    HEAD_WITHOUT_RULE = ReasonRow(
        "FailedPrecondition",
        "The head cannot tell pictures of none of its classes.",
        "Train it again, with at least three classes.",
    )
    FIELD_NOT_OURS = ReasonRow(
        "FailedPrecondition", "The field of an item holds a value that no head wrote.", "Write to another field."
    )
    NO_CLASSES = ReasonRow("FailedPrecondition", "The model has no classes of its own.", "Name a head.")
    NO_DECONVNET = ReasonRow(
        "FailedPrecondition", "The model has no deconvnet.", "Use `fc7 explain occlude`, which does not need one."
    )
    NEWER_FORMAT = ReasonRow("FailedPrecondition", "A newer version of fc7 wrote this.", "Upgrade fc7.")
    DATA_FOLDER_IN_USE = ReasonRow(
        "FailedPrecondition",
        "Another process uses the data folder.",
        "Use the server of that process, or name another folder.",
    )
    CERTIFICATE_UNUSABLE = ReasonRow(
        "FailedPrecondition",
        "The certificate, its key or the authority of clients cannot be used.",
        "Give PEM files that belong together.",
    )
    CANNOT_LISTEN = ReasonRow(
        "FailedPrecondition",
        "The server cannot listen on the address.",
        "Free the port, or check the address and the certificate.",
    )
    DEVICE_UNAVAILABLE = ReasonRow(
        "FailedPrecondition",
        "The requested device cannot be used.",
        "Use `--device auto` or `cpu`, or install the GPU version.",
    )
    LIBRARY_MISSING = ReasonRow(
        "FailedPrecondition",
        "The server lacks a library that the call needs.",
        "Install what the message names where the server runs.",
    )

    ABORTED = ReasonRow("Aborted", "The data changed during the call.", "Read it again, then repeat the call.")
    IMAGE_CHANGED = ReasonRow("Aborted", "An image changed during the call.", "Repeat the call.")

    RESOURCE_EXHAUSTED = ReasonRow("ResourceExhausted", "A limit is reached.", "Read the message: it names the limit.")
    QUEUE_FULL = ReasonRow(
        "ResourceExhausted", "The server has too much work waiting.", "Repeat the call after `retry_after_s`."
    )
    TOO_MANY_CALLS = ReasonRow(
        "ResourceExhausted", "The server is handling too many calls.", "Repeat the call after `retry_after_s`."
    )
    ANSWER_TOO_LARGE = ReasonRow(
        "ResourceExhausted", "The answer does not fit in one message.", "Ask for less at a time."
    )
    WORK_TOO_LARGE = ReasonRow(
        "ResourceExhausted", "The call asks for more work than one call may request.", "Ask for less at a time."
    )
    DISK_FULL = ReasonRow(
        "ResourceExhausted", "The disk is full. Nothing was written.", "Free some space, then repeat the call."
    )

    UNAUTHENTICATED = ReasonRow(
        "Unauthenticated", "The token is missing or wrong.", "Name the file that holds a valid token."
    )
    TOKEN_EXPIRED = ReasonRow(
        "Unauthenticated", "The token's last day is over.", "Ask whoever runs the server for a new one."
    )
    PERMISSION_DENIED = ReasonRow(
        "PermissionDenied", "The token does not allow this call.", "Use a token with the scope that the message names."
    )

    UNAVAILABLE = ReasonRow(
        "Unavailable", "The server, or a file it needs, cannot be used right now.", "Repeat the call in a few seconds."
    )
    SERVER_STOPPING = ReasonRow(
        "Unavailable", "The server is stopping.", "Repeat the call when the server is running again."
    )
    TOO_MANY_FILES = ReasonRow(
        "Unavailable",
        "The server has no file descriptors left.",
        "Repeat the call. If it happens again, raise the limit (`ulimit -n`).",
    )
    DISK_FAILED = ReasonRow("Unavailable", "The disk reported an error.", "Check the disk, then restart the server.")

    DEADLINE_EXCEEDED = ReasonRow(
        "DeadlineExceeded", "The call did not finish in time.", "Repeat it with a larger `timeout_s`."
    )
    ARRIVAL_TOO_SLOW = ReasonRow("DeadlineExceeded", "The rest of a stream did not arrive in time.", "Repeat the call.")

    DATA_LOSS = ReasonRow("DataLoss", "A file does not match its checksum.", "Restore it from a backup.")
    GOLDEN_MISMATCH = ReasonRow(
        "DataLoss",
        "The network does not compute its golden values.",
        "Install or export the model again, or check the machine with `fc7 model verify`.",
    )
    BUNDLE_DAMAGED = ReasonRow("DataLoss", "The bundle of a model is damaged.", "Install or export the model again.")
    COLLECTION_DAMAGED = ReasonRow(
        "DataLoss", "The collection is damaged and was set aside.", "Restore it from a backup, or delete it."
    )
    ITEM_DAMAGED = ReasonRow("DataLoss", "The item does not match its checksum.", "Add it again.")
    HEAD_DAMAGED = ReasonRow("DataLoss", "The head is damaged.", "Publish another version, or train it again.")
