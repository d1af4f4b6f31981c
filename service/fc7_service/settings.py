"""The settings of a server: one value object, filled by the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, get_type_hints

from fc7.contract.address import is_loopback, split_address
from fc7.contract.cores import usable_cores
from fc7.errors import InvalidArgument, NotFound, Reason


@dataclass(frozen=True, slots=True)
class About:
    """What the table of `docs/reference/configuration.md` says about a setting."""

    meaning: str  # one or two sentences
    unit: str
    default: str = ""  # in words, where the value does not say it


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a server."""

    data: Annotated[
        Path,
        About(
            "Holds collections, heads and everything else that outlasts the process. One process owns it.",
            "folder",
            "your data directory (`fc7 doctor` names it)",
        ),
    ]
    listen: Annotated[
        str | None,
        About(
            "Address that the server listens on; port 0 takes a free one. An address that other machines reach needs "
            "tokens and TLS.",
            "HOST:PORT",
        ),
    ] = "127.0.0.1:50051"  # None: the private socket alone
    models: Annotated[
        tuple[str, ...],
        About(
            "Networks to serve. The first one answers calls that name none.",
            "shipped names, or bundle folders",
            "all shipped bundles",
        ),
    ] = ()  # empty: all that are shipped
    device: Annotated[
        str,
        About(
            "Where networks run. The server does not start if you ask for `cuda` and there is none; `auto` uses it "
            "if there is one.",
            "`auto`, `cpu` or `cuda`",
        ),
    ] = "auto"
    threads: Annotated[
        int,
        About(
            "Threads for networks, and as many for decoding. Lower it to leave cores to other programs.",
            "threads",
            "one per core that this process may use: its affinity mask and its container's limit count",
        ),
    ] = field(default_factory=usable_cores)
    token_file: Annotated[
        Path | None,
        About(
            "Lists the tokens of callers and what each may do ([format](../guides/serve.md#tokens)).",
            "file",
            "none: no token is asked for",
        ),
    ] = None
    tls_cert: Annotated[
        Path | None,
        About("Certificate chain of the server. Give it together with the key.", "PEM file", "none: no TLS"),
    ] = None
    tls_key: Annotated[Path | None, About("Private key of the certificate.", "PEM file", "none")] = None
    tls_client_ca: Annotated[
        Path | None,
        About(
            "Certificate of the authority that must have signed the certificates of clients (mutual TLS). Tokens are "
            "asked for as well.",
            "PEM file",
            "none: clients need no certificate",
        ),
    ] = None
    is_insecure: Annotated[
        bool,
        About("Allows an address that other machines reach without TLS and tokens.", "true or false", "false"),
    ] = False
    metrics: Annotated[
        str | None,
        About(
            "Address that serves metrics to Prometheus over plain HTTP without a token ([what it serves]"
            "(../guides/serve.md#watch-it)); port 0 takes a free one. An address that other machines reach needs "
            "`--insecure`.",
            "HOST:PORT",
            "none: no metrics",
        ),
    ] = None
    http: Annotated[
        str | None,
        About(
            "Address that serves every call over HTTP, and the page for browsers ([how to call it]"
            "(../guides/http.md)); port 0 takes a free one. An address that other machines reach needs tokens and TLS.",
            "HOST:PORT",
            "none: no HTTP",
        ),
    ] = None
    http_hosts: Annotated[
        tuple[str, ...],
        About(
            "Names by which callers reach the HTTP address, beside `localhost` and IP addresses. Requests for other "
            "names are refused.",
            "host names",
            "none",
        ),
    ] = ()
    http_origins: Annotated[
        tuple[str, ...],
        About(
            "Other sites whose pages may call the HTTP address (CORS), for example `https://photos.example.org`.",
            "origins",
            "none",
        ),
    ] = ()
    pictures: Annotated[
        tuple[Path, ...],
        About(
            "Folders on the server's disk whose pictures the HTTP address may show. An item's picture is the file that "
            "its payload names as `path`.",
            "folders",
            "none: no picture is shown",
        ),
    ] = ()
    traces: Annotated[
        str | None,
        About(
            "Address of an OpenTelemetry collector (OTLP over gRPC) that gets one span per call. TLS is used unless "
            "the address is a loopback one. Needs the extra `otel`.",
            "HOST:PORT",
            "none: no spans",
        ),
    ] = None
    recall_queries: Annotated[
        int,
        About(
            "Recent queries of each open collection that are kept in memory, to compare their answers with exact "
            "search in idle time ([why](../guides/queries.md#know-what-the-index-misses)). 0 keeps none.",
            "queries",
        ),
    ] = 100
    drain_s: Annotated[
        float,
        About(
            "How long calls may still run after SIGTERM. Container engines kill the process after 10 to 30 seconds.",
            "seconds",
        ),
    ] = 20.0

    @property
    def secret_files(self) -> list[Path]:
        """The files of tokens and certificates that are named."""
        return [file for file in (self.token_file, self.tls_cert, self.tls_key, self.tls_client_ca) if file is not None]

    def check(self) -> None:
        """Refuse settings that contradict one another.

        Raises
        ------
        InvalidArgument
            Naming the setting and the rule.
        NotFound
            A file named does not exist.
        """
        if self.device not in ("auto", "cpu", "cuda"):
            raise InvalidArgument(f"device must be auto, cpu or cuda (got {self.device!r})", name="device")
        if not 0 <= self.recall_queries <= 10_000:
            raise InvalidArgument(
                f"recall_queries must be 0 to 10000 (got {self.recall_queries})", name="recall_queries"
            )
        if self.threads < 1:
            raise InvalidArgument(f"threads must be at least 1 (got {self.threads})", name="threads")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise InvalidArgument("TLS needs both --tls-cert and --tls-key. Give both, or neither", name="tls_cert")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise InvalidArgument("--tls-client-ca needs TLS. Give --tls-cert and --tls-key, too", name="tls_client_ca")
        for path in self.secret_files:
            if not path.is_file():
                raise NotFound(f"file {str(path)!r} does not exist", name=str(path), reason=Reason.FILE_NOT_FOUND)
        if self.traces is not None:
            split_address(self.traces, "traces")
        if self.metrics is not None:
            self._check_metrics(self.metrics)
        for folder in self.pictures:
            if not folder.is_dir():
                raise NotFound(f"folder {str(folder)!r} does not exist", name=str(folder), reason=Reason.FILE_NOT_FOUND)
        for origin in self.http_origins:
            if not re.fullmatch(r"https?://[^/\s]+/?", origin):
                raise InvalidArgument(
                    f"origin {origin!r} must be a scheme and a host, for example https://photos.example.org",
                    name="http_origins",
                )
        for name, address in (("listen", self.listen), ("http", self.http)):
            if address is not None:
                self._check_reach(name, address)

    def _check_reach(self, name: str, address: str) -> None:
        host, _ = split_address(address, name)
        if not is_loopback(host) and not self.is_insecure and (self.token_file is None or self.tls_cert is None):
            raise InvalidArgument(
                f"{address} is reachable from other machines. Give --token-file, --tls-cert and --tls-key, "
                "or allow it with --insecure",
                name=name,
            )

    def _check_metrics(self, address: str) -> None:
        host, _ = split_address(address, "metrics")
        if not is_loopback(host) and not self.is_insecure:
            raise InvalidArgument(
                f"other machines can reach the metrics on {address}, which have no TLS and no token. Name a "
                "loopback address with --metrics, or allow it with --insecure",
                name="metrics",
            )


def describe_settings() -> dict[str, About]:
    """Return what the docs say about each setting, in the order of their table; every default is in words."""
    hints, described = get_type_hints(Settings, include_extras=True), {}
    for one in fields(Settings):
        (about,) = hints[one.name].__metadata__
        described[one.name] = about if about.default else replace(about, default=f"`{one.default}`")
    return described
