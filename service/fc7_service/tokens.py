"""Who may do what: the token file, and the scope that each call needs."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fc7.errors import InvalidArgument, PermissionDenied, Unauthenticated

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
    "/fc7.v1.CollectionService/ListLabels": "read",
    "/fc7.v1.CollectionService/QueryItems": "read",
    "/fc7.v1.HeadService/GetHead": "read",
    "/fc7.v1.HeadService/GetHeadReport": "read",
    "/fc7.v1.HeadService/ListHeads": "read",
    "/fc7.v1.HeadService/Classify": "read",
    "/fc7.v1.ExplainService/ProjectUnit": "read",
    "/fc7.v1.ExplainService/TopUnits": "read",
    "/fc7.v1.ExplainService/ExplainMatch": "read",
    "/fc7.v1.ExplainService/ExplainClass": "read",
    "/fc7.v1.ExplainService/Occlude": "read",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": "read",
    "/fc7.v1.CollectionService/CreateCollection": "write",
    "/fc7.v1.CollectionService/DeleteCollection": "write",
    "/fc7.v1.CollectionService/UpsertItems": "write",
    "/fc7.v1.CollectionService/DeleteItems": "write",
    "/fc7.v1.CollectionService/UpdatePayloads": "write",
    "/fc7.v1.CollectionService/AddLabels": "write",
    "/fc7.v1.CollectionService/UndoLabels": "write",
    "/fc7.v1.HeadService/TrainHead": "write",
    "/fc7.v1.HeadService/PublishHead": "write",
    "/fc7.v1.HeadService/DeleteHead": "write",
    "/fc7.v1.ModelService/LoadModel": "admin",
    "/fc7.v1.ModelService/ReloadModel": "admin",
    "/fc7.v1.ModelService/UnloadModel": "admin",
    "/fc7.v1.AdminService/GetServerInfo": "admin",
}
HEALTH = "/grpc.health.v1.Health/"
METHODS = (*SCOPE_OF_CALL, f"{HEALTH}Check", f"{HEALTH}Watch")  # every method of a server


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call, as the log shows it."""

    scope: str = ""  # empty for a caller without a token
    token: str = ""  # first digits of the token's digest; empty if the server asks for none


NOBODY = Caller()  # has no token on a server that asks for one, and may only check health
_EVERYBODY = Caller("admin")  # of a server that asks for no token


class Tokens:
    """The tokens of a server, kept as SHA-256 digests.

    Parameters
    ----------
    scopes
        SHA-256 (hex) of each token, and its scope. If empty, everyone may do everything.
    """

    def __init__(self, scopes: Mapping[str, str]) -> None:
        self._scopes = dict(scopes)

    @property
    def are_asked_for(self) -> bool:
        """Whether callers need a token."""
        return bool(self._scopes)

    def scope_of(self, authorization: str) -> str:
        """Return the scope of a token, given as "Bearer TOKEN"; empty if it is not known."""
        if not self._scopes:
            return _EVERYBODY.scope
        sent, scope = digest(authorization.removeprefix("Bearer ")), ""
        for known, its_scope in self._scopes.items():
            if hmac.compare_digest(known, sent) and authorization.startswith("Bearer "):
                scope = its_scope
        return scope

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
            There is no token, or the file does not list it.
        PermissionDenied
            The token's scope is too weak for this method.
        """
        if not self._scopes:
            return _EVERYBODY
        scope = self.scope_of(authorization)
        if not scope and method.startswith(HEALTH):
            return NOBODY
        if not scope:
            raise Unauthenticated("this server asks for a token. Send it as metadata, authorization: Bearer TOKEN")
        is_open = not is_known or method.startswith(HEALTH)
        needed = "read" if is_open else SCOPE_OF_CALL.get(method, "admin")
        ranks = list(SCOPES)
        if ranks.index(scope) < ranks.index(needed):
            name = method.rpartition("/")[2]
            raise PermissionDenied(f"{name} needs a token of scope {needed!r}, but this one has {scope!r}", name=name)
        return Caller(scope, digest(authorization.removeprefix("Bearer "))[:8])


def digest(token: str) -> str:
    """Return the SHA-256 (hex) that stands for ``token``."""
    return hashlib.sha256(token.encode()).hexdigest()


def read_tokens(path: Path) -> dict[str, str]:
    """Read a token file; return the digest of each token and its scope.

    Each line is ``SCOPE TOKEN``, or ``TOKEN`` alone for the scope admin. A token may be given as ``sha256:HEX``. Empty
    lines and lines that begin with ``#`` are skipped.

    Raises
    ------
    InvalidArgument
        A line is malformed (the error gives its number, never its text), or there is no token.
    """
    scopes: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        scope, token = ("admin", words[0]) if len(words) == 1 else (words[0], words[1])
        kind, colon, rest = token.partition(":")
        is_digest = kind == "sha256" and bool(colon)
        if scope not in SCOPES or len(words) > 2 or (is_digest and not re.fullmatch("[0-9a-fA-F]{64}", rest)):
            raise InvalidArgument(
                f"line {number} of {str(path)!r} must be 'SCOPE TOKEN'. The scope is one of {', '.join(SCOPES)}; the "
                "token is any word, or sha256: and 64 hexadecimal digits",
                name="token_file",
            )
        scopes[rest.lower() if is_digest else digest(token)] = scope
    if not scopes:
        raise InvalidArgument(f"token file {str(path)!r} contains no token", name="token_file")
    return scopes
