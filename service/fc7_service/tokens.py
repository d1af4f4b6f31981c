"""Who may do what: the token file and the scope each call needs."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fc7.errors import InvalidArgument, PermissionDenied, Unauthenticated

SCOPES = ("read", "write", "admin")  # each includes those before it

# What each call needs. Health checks need nothing; a call that is not listed needs "admin".
NEEDED = {
    "read": (
        "/fc7.v1.FeatureService/Extract",
        "/fc7.v1.FeatureService/StreamExtract",
        "/fc7.v1.ModelService/ListModels",
        "/fc7.v1.ModelService/GetModel",
        "/fc7.v1.ModelService/GetGolden",
        "/fc7.v1.CollectionService/GetCollection",
        "/fc7.v1.CollectionService/ListCollections",
        "/fc7.v1.CollectionService/GetItems",
        "/fc7.v1.CollectionService/ListItems",
        "/fc7.v1.CollectionService/QueryItems",
        "/fc7.v1.HeadService/GetHead",
        "/fc7.v1.HeadService/ListHeads",
        "/fc7.v1.HeadService/Classify",
        "/fc7.v1.ExplainService/ProjectUnit",
        "/fc7.v1.ExplainService/TopUnits",
        "/fc7.v1.ExplainService/ExplainMatch",
        "/fc7.v1.ExplainService/ExplainClass",
        "/fc7.v1.ExplainService/Occlude",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ),
    "write": (
        "/fc7.v1.CollectionService/CreateCollection",
        "/fc7.v1.CollectionService/DeleteCollection",
        "/fc7.v1.CollectionService/UpsertItems",
        "/fc7.v1.CollectionService/DeleteItems",
        "/fc7.v1.HeadService/TrainHead",
        "/fc7.v1.HeadService/PublishHead",
        "/fc7.v1.HeadService/DeleteHead",
    ),
    "admin": ("/fc7.v1.AdminService/GetServerInfo",),  # facts about the machine: paths, versions, process id
}
_NEEDED = {method: scope for scope, methods in NEEDED.items() for method in methods}
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
        needed = "read" if is_open else _NEEDED.get(method, "admin")
        if SCOPES.index(scope) < SCOPES.index(needed):
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
