"""Who may do what: the token file, and the scope that each call needs."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fc7.errors import InvalidArgument, PermissionDenied, Reason, Unauthenticated

# Each scope includes those before it. The texts are a table of the docs.
SCOPES = {
    "read": "Extract features, search, classify, explain, and read collections and heads.",
    "write": "Also create and delete collections, add, change, label and remove items, and train, publish and delete "
    "heads.",
    "admin": "Also load, reload and unload networks, and read facts about the server's machine: paths, library "
    "versions, process id.",
}

# The scope that each call needs. Health checks need none; a call that is missing here needs "admin".
SCOPE_OF_CALL = {
    "/fc7.v1.FeatureService/Extract": "read",
    "/fc7.v1.FeatureService/StreamExtract": "read",
    "/fc7.v1.ModelService/ListModels": "read",
    "/fc7.v1.ModelService/GetModel": "read",
    "/fc7.v1.ModelService/GetGolden": "read",
    "/fc7.v1.CollectionService/GetCollection": "read",
    "/fc7.v1.CollectionService/ListCollections": "read",
    "/fc7.v1.CollectionService/GetItems": "read",
    "/fc7.v1.CollectionService/ListItems": "read",
    "/fc7.v1.CollectionService/CountItems": "read",
    "/fc7.v1.CollectionService/CountValues": "read",
    "/fc7.v1.CollectionService/FindDuplicates": "read",
    "/fc7.v1.CollectionService/MapItems": "read",
    "/fc7.v1.CollectionService/ListLabels": "read",
    "/fc7.v1.CollectionService/GetThreshold": "read",
    "/fc7.v1.CollectionService/QueryItems": "read",
    "/fc7.v1.HeadService/GetHead": "read",
    "/fc7.v1.HeadService/GetHeadReport": "read",
    "/fc7.v1.HeadService/ListHeads": "read",
    "/fc7.v1.HeadService/Classify": "read",
    "/fc7.v1.HeadService/ClassifyItems": "read",
    "/fc7.v1.HeadService/RankItems": "read",
    "/fc7.v1.HeadService/SuggestItems": "read",
    "/fc7.v1.HeadService/SampleItems": "read",
    "/fc7.v1.HeadService/CompareHeads": "read",
    "/fc7.v1.HeadService/GetShadow": "read",
    "/fc7.v1.ExplainService/ProjectUnit": "read",
    "/fc7.v1.ExplainService/TopUnits": "read",
    "/fc7.v1.ExplainService/ExplainMatch": "read",
    "/fc7.v1.ExplainService/ExplainClass": "read",
    "/fc7.v1.ExplainService/Occlude": "read",
    "/inference.GRPCInferenceService/ServerLive": "read",
    "/inference.GRPCInferenceService/ServerReady": "read",
    "/inference.GRPCInferenceService/ModelReady": "read",
    "/inference.GRPCInferenceService/ServerMetadata": "read",
    "/inference.GRPCInferenceService/ModelMetadata": "read",
    "/inference.GRPCInferenceService/ModelInfer": "read",
    "/inference.GRPCInferenceService/ModelStreamInfer": "read",
    "/inference.GRPCInferenceService/ModelConfig": "read",
    "/inference.GRPCInferenceService/ModelStatistics": "read",
    "/inference.GRPCInferenceService/RepositoryIndex": "read",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": "read",
    "/fc7.v1.CollectionService/CreateCollection": "write",
    "/fc7.v1.CollectionService/DeleteCollection": "write",
    "/fc7.v1.CollectionService/UpsertItems": "write",
    "/fc7.v1.CollectionService/DeleteItems": "write",
    "/fc7.v1.CollectionService/UpdatePayloads": "write",
    "/fc7.v1.CollectionService/TuneCollection": "write",
    "/fc7.v1.CollectionService/AddLabels": "write",
    "/fc7.v1.CollectionService/UndoLabels": "write",
    "/fc7.v1.HeadService/TrainHead": "write",
    "/fc7.v1.HeadService/PublishHead": "write",
    "/fc7.v1.HeadService/SetShadow": "write",
    "/fc7.v1.HeadService/GetHeadWeights": "write",
    "/fc7.v1.HeadService/ImportHead": "write",
    "/fc7.v1.HeadService/ExportHead": "write",
    "/fc7.v1.HeadService/WriteClasses": "write",
    "/fc7.v1.HeadService/DeleteHead": "write",
    "/fc7.v1.ModelService/LoadModel": "admin",
    "/fc7.v1.ModelService/ReloadModel": "admin",
    "/fc7.v1.ModelService/UnloadModel": "admin",
    "/fc7.v1.AdminService/GetServerInfo": "admin",
    "/inference.GRPCInferenceService/RepositoryModelLoad": "admin",
    "/inference.GRPCInferenceService/RepositoryModelUnload": "admin",
}
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_FIELDS = ("name", "expires")  # of a line of the token file, as FIELD=VALUE
HEALTH = "/grpc.health.v1.Health/"
METHODS = (*SCOPE_OF_CALL, f"{HEALTH}Check", f"{HEALTH}Watch")  # every method of a server


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call, as the log shows it."""

    scope: str = ""  # empty for a caller without a token
    token: str = ""  # first digits of the token's digest; empty if the server asks for none
    name: str = ""  # of the token; empty if it has none


NOBODY = Caller()  # has no token on a server that asks for one, and may only check health
_EVERYBODY = Caller("admin")  # of a server that asks for no token


@dataclass(frozen=True, slots=True)
class Token:
    """What a token allows."""

    scope: str
    name: str = ""
    expires: datetime.date | None = None  # the last day on which it is valid, in UTC


class Tokens:
    """The tokens of a server, kept as SHA-256 digests.

    Parameters
    ----------
    tokens
        By SHA-256 (hex). If empty, everyone may do everything.
    today
        Returns the day in UTC.
    """

    def __init__(
        self,
        tokens: Mapping[str, Token],
        today: Callable[[], datetime.date] = lambda: datetime.datetime.now(datetime.UTC).date(),
    ) -> None:
        self._tokens, self._today = dict(tokens), today

    def replace(self, tokens: Mapping[str, Token]) -> None:
        """Take other tokens for calls that begin from now on."""
        self._tokens = dict(tokens)

    @property
    def are_asked_for(self) -> bool:
        """Whether callers need a token."""
        return bool(self._tokens)

    def scope_of(self, authorization: str) -> str:
        """Return the scope of a token, given as "Bearer TOKEN"; empty if it is not known or has expired."""
        if not self._tokens:
            return _EVERYBODY.scope
        token = self._find(authorization)
        return "" if token is None or self._is_expired(token) else token.scope

    def check(self, method: str, authorization: str, *, is_known: bool = True) -> Caller:
        """Return the caller of a call that is allowed.

        Parameters
        ----------
        method
            Full name, for example "/fc7.v1.FeatureService/Extract".
        is_known
            Whether the method exists. Every token may learn that it does not.
        authorization
            Value of the metadata key ``authorization``: "Bearer TOKEN", or empty.

        Raises
        ------
        Unauthenticated
            There is no token, the file does not list it, or it has expired.
        PermissionDenied
            The token's scope is too weak for this method.
        """
        if not self._tokens:
            return _EVERYBODY
        found = self._find(authorization)
        if method.startswith(HEALTH) and (found is None or self._is_expired(found)):
            return NOBODY
        if found is None:
            if authorization.startswith("Bearer "):
                raise Unauthenticated("this server does not know the token. Check it, or ask for another one")
            raise Unauthenticated("this server asks for a token. Send it as authorization: Bearer TOKEN")
        if self._is_expired(found):
            raise Unauthenticated(
                f"this token expired on {found.expires}. Ask for a new one", reason=Reason.TOKEN_EXPIRED
            )
        is_open = not is_known or method.startswith(HEALTH)
        needed = "read" if is_open else SCOPE_OF_CALL.get(method, "admin")
        ranks = list(SCOPES)
        if ranks.index(found.scope) < ranks.index(needed):
            name = method.rpartition("/")[2]
            raise PermissionDenied(
                f"{name} needs a token of scope {needed!r}, but this one has {found.scope!r}", name=name
            )
        return Caller(found.scope, _sent_digest(authorization)[:8], found.name)

    def _find(self, authorization: str) -> Token | None:
        """Return the token of "Bearer TOKEN"; how long that takes tells nothing about the tokens."""
        sent, found = _sent_digest(authorization), None
        for known, token in self._tokens.items():
            if hmac.compare_digest(known, sent) and authorization.startswith("Bearer "):
                found = token
        return found

    def _is_expired(self, token: Token) -> bool:
        return token.expires is not None and token.expires < self._today()


def _sent_digest(authorization: str) -> str:
    return digest(authorization.removeprefix("Bearer "))


def digest(token: str) -> str:
    """Return the SHA-256 (hex) that stands for ``token``."""
    return hashlib.sha256(token.encode()).hexdigest()


def read_tokens(path: Path) -> dict[str, Token]:
    """Read a token file; return what each token allows, by its digest.

    Each line is ``SCOPE TOKEN``, or ``TOKEN`` alone for the scope admin. ``name=NAME`` and ``expires=YYYY-MM-DD`` may
    follow. A token may be given as ``sha256:HEX``. Empty lines and lines that begin with ``#`` are skipped.

    Raises
    ------
    InvalidArgument
        A line is malformed (the error gives its number, never its text), or there is no token.
    """
    tokens: dict[str, Token] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            key, token = _read_line(words)
        except ValueError as error:
            raise InvalidArgument(
                f"line {number} of {str(path)!r} must be 'SCOPE TOKEN', and name=NAME or expires=YYYY-MM-DD may "
                f"follow: {error}",
                name="token_file",
            ) from None
        tokens[key] = token
    if not tokens:
        raise InvalidArgument(f"token file {str(path)!r} contains no token", name="token_file")
    return tokens


def _read_line(words: list[str]) -> tuple[str, Token]:
    """Return the digest of a line's token, and what it allows. No error repeats a word, which may be a secret."""
    has_scope = len(words) > 1 and not _is_field(words[1])
    scope, token = (words[0], words[1]) if has_scope else ("admin", words[0])
    if scope not in SCOPES:
        raise ValueError(f"the scope must be one of {', '.join(SCOPES)}")
    if token in SCOPES and len(words) > 1:
        raise ValueError("the token is missing")
    kind, colon, rest = token.partition(":")
    is_digest = kind == "sha256" and bool(colon)
    if is_digest and not re.fullmatch("[0-9a-fA-F]{64}", rest):
        raise ValueError("sha256: must be followed by 64 hexadecimal digits")
    fields = dict(word.partition("=")[::2] for word in words[1 + has_scope :])
    if not set(fields) <= set(_FIELDS):
        raise ValueError("after the token only name= and expires= may stand")
    if "name" in fields and not _NAME.fullmatch(fields["name"]):
        raise ValueError("a name has 1 to 64 letters, digits, '.', '_' or '-'")
    expires = _read_day(fields["expires"]) if "expires" in fields else None
    return rest.lower() if is_digest else digest(token), Token(scope, fields.get("name", ""), expires)


def _is_field(word: str) -> bool:
    return word.startswith(tuple(f"{field}=" for field in _FIELDS))


def _read_day(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise ValueError("the day must be written as YYYY-MM-DD") from None
