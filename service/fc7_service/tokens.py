"""Who may do what: the token file and the scope each call needs."""

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
    "write": "Also create and delete collections, add and remove items, and train, publish and delete heads.",
    "admin": "Also read facts about the server's machine: paths, library versions, process id.",
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
    "/fc7.v1.CollectionService/QueryItems": "read",
    "/fc7.v1.HeadService/GetHead": "read",
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
    "/fc7.v1.HeadService/TrainHead": "write",
    "/fc7.v1.HeadService/PublishHead": "write",
    "/fc7.v1.HeadService/DeleteHead": "write",
    "/fc7.v1.AdminService/GetServerInfo": "admin",
}
HEALTH = "/grpc.health.v1.Health/"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call, as far as the log tells."""

    scope: str = ""  # empty for a caller without a token
    token: str = ""  # first digits of the digest of the token; "" where none is asked for


NOBODY = Caller()  # without a token on a server that asks for one: health alone
_EVERYBODY = Caller("admin")  # where no token is asked for


class Tokens:
    """The tokens of a server, kept as SHA-256 digests.

    Parameters
    ----------
    scopes
        Digest (hex) of each token -> its scope. Empty: everyone may do everything.
    """

    def __init__(self, scopes: Mapping[str, str]) -> None:
        self._scopes = dict(scopes)

    def check(self, method: str, authorization: str, *, is_known: bool = True) -> Caller:
        """Let a call through, returning whose it is, or refuse it.

        Parameters
        ----------
        method
            Full name, for example "/fc7.v1.FeatureService/Extract".
        is_known
            Whether there is such a method; any token may learn that there is not.
        authorization
            Value of the metadata key ``authorization``: "Bearer TOKEN"; empty for none.

        Raises
        ------
        Unauthenticated
            No token, or one that the file does not list.
        PermissionDenied
            The token's scope is too weak for this method.
        """
        if not self._scopes:
            return _EVERYBODY
        sent, scope = digest(authorization.removeprefix("Bearer ")), ""
        for known, its_scope in self._scopes.items():
            if hmac.compare_digest(known, sent) and authorization.startswith("Bearer "):
                scope = its_scope
        if not scope and method.startswith(HEALTH):
            return NOBODY
        if not scope:
            raise Unauthenticated("a token of this server is needed: send metadata authorization: Bearer TOKEN")
        is_open = not is_known or method.startswith(HEALTH)
        needed = "read" if is_open else SCOPE_OF_CALL.get(method, "admin")
        ranks = list(SCOPES)
        if ranks.index(scope) < ranks.index(needed):
            name = method.rpartition("/")[2]
            raise PermissionDenied(f"{name} needs a token of scope {needed!r}: this one has {scope!r}", name=name)
        return Caller(scope, sent[:8])


def digest(token: str) -> str:
    """Return the SHA-256 (hex) that stands for ``token``."""
    return hashlib.sha256(token.encode()).hexdigest()


def read_tokens(path: Path) -> dict[str, str]:
    """Read a token file; return the digest of each token and its scope.

    A line a token: ``SCOPE TOKEN``, or ``TOKEN`` alone for scope admin; a token may be
    given as ``sha256:HEX``. Empty lines and those that begin with ``#`` are passed over.

    Raises
    ------
    InvalidArgument
        A malformed line (named by its number, never by its text), or no token at all.
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
                f"line {number} of {str(path)!r} is not 'SCOPE TOKEN', scope of {', '.join(SCOPES)}, "
                "token of your choice or sha256: and 64 hexadecimal digits",
                name="token_file",
            )
        scopes[rest.lower() if is_digest else digest(token)] = scope
    if not scopes:
        raise InvalidArgument(f"token file {str(path)!r} holds no token", name="token_file")
    return scopes
