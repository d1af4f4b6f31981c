"""The certificate of a server: checked before it is used, and renewed without a dropped call."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path
from typing import Any

import grpc

from fc7.errors import FailedPrecondition, Reason

_SEQUENCE, _VERSION = 0x30, 0xA0  # tags of DER


class Certificates:
    """The files of a certificate, and gRPC's credentials made from them.

    Parameters
    ----------
    chain
        PEM file of the certificate and of the authorities between it and the root.
    key
        PEM file of its private key.
    client_ca
        PEM file of the authority that must have signed the certificates of clients; None if clients need none.

    Raises
    ------
    FailedPrecondition
        A file is unreadable, or the key is not that of the certificate.
    """

    def __init__(self, chain: Path, key: Path, client_ca: Path | None) -> None:
        self.files = chain, key, client_ca
        self._renewed: Any = None  # what the next handshake takes; None for no change
        self.credentials = grpc.dynamic_ssl_server_credentials(
            self._read(), self._fetch, require_client_authentication=client_ca is not None
        )

    def renew(self) -> None:
        """Read the files again. Connections that begin from now on get the new certificate; the others go on.

        Raises
        ------
        FailedPrecondition
            As the constructor; the old certificate stays in use.
        """
        self._renewed = self._read()

    def _fetch(self) -> Any:
        """Return the configuration for a handshake that begins, or None for the one of the last handshake."""
        renewed, self._renewed = self._renewed, None
        return renewed

    def _read(self) -> Any:
        check_certificate(*self.files)
        chain, key = self.files[0].read_bytes(), self.files[1].read_bytes()
        roots = self.files[2].read_bytes() if self.files[2] else None
        self.expires = _not_after(ssl.PEM_cert_to_DER_cert(_first(chain.decode("ascii", "replace"))))
        return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=roots)


def check_certificate(chain: Path, key: Path, ca: Path | None) -> None:
    """Refuse files with which no connection could be made.

    Raises
    ------
    FailedPrecondition
        A file is unreadable, or the key is not that of the certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(chain, key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise FailedPrecondition(
            f"the certificate {str(chain)!r} cannot be used with the key {str(key)!r}: {_reason(error)}. Give PEM "
            "files that belong together, with a key that has no password",
            name="tls_cert",
            reason=Reason.CERTIFICATE_UNUSABLE,
        ) from error
    try:
        if ca is not None:
            context.load_verify_locations(ca)
    except (OSError, ValueError) as error:
        raise FailedPrecondition(
            f"the authority {str(ca)!r} cannot be read: {_reason(error)}. Give a PEM file with its certificate",
            name="tls_client_ca",
            reason=Reason.CERTIFICATE_UNUSABLE,
        ) from error


def _reason(error: Exception) -> str:
    found = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return str(found).replace("_", " ").lower()


def _first(pem: str) -> str:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return begin + pem.partition(begin)[2].partition(end)[0] + end


def _not_after(der: bytes) -> datetime.datetime:
    """Return when a certificate expires (RFC 5280, section 4.1: the fifth field of what is signed, its second time)."""
    tag, at, _ = _element(der, _element(der, 0)[1])
    assert tag == _SEQUENCE  # OpenSSL has read it
    fields = 4
    while fields:
        tag, begin, end = _element(der, at)
        fields -= tag != _VERSION  # serial number, algorithm, issuer, validity
        at = end
    _, _, at = _element(der, begin)
    kind, begin, end = _element(der, at)
    text = der[begin:end].decode("ascii")
    if kind == 0x17:  # two digits of the year (section 4.1.2.5.1)
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.UTC)


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Return tag, begin and end of the content of the element at a place."""
    tag, size, begin = der[at], der[at + 1], at + 2
    if size & 0x80:
        n_digits = size & 0x7F
        size, begin = int.from_bytes(der[begin : begin + n_digits], "big"), begin + n_digits
    return tag, begin, begin + size
