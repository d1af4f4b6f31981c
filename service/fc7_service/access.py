"""Who may call: the tokens and the certificate of a server, which are read again when their files change."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Callable

from fc7.errors import Fc7Error
from fc7_service.certificates import Certificates
from fc7_service.settings import Settings
from fc7_service.tokens import Token, Tokens, digest, read_tokens

_RENEW_DAYS = 14  # a certificate that expires sooner is worth a warning


class Access:
    """The tokens and the certificate of a server.

    Parameters
    ----------
    settings
        Name the files.
    say
        Writes an event to the log.

    Raises
    ------
    FailedPrecondition, InvalidArgument
        A file cannot be used.
    """

    def __init__(self, settings: Settings, say: Callable[..., None]) -> None:
        self._settings, self._say = settings, say
        self.one_time = secrets.token_urlsafe(32)  # opens the private address
        self.tokens = Tokens(self._read_tokens())
        self.certificates = self._open_certificates()

    def renew(self, then: Callable[[], None]) -> None:
        """Read tokens and certificate again, and call ``then``; what cannot be read leaves those in use."""
        try:
            self.tokens.replace(self._read_tokens())
            if self.certificates:
                self.certificates.renew()
                self._log_certificate(self.certificates)
                then()
        except (Fc7Error, OSError) as error:
            text = error.message if isinstance(error, Fc7Error) else f"{error.strerror}: {error.filename}"
            self._say("tokens or certificates cannot be read again, and those read before stay in use", reason=text)
        else:
            self._say("tokens and certificates were read again")

    def _read_tokens(self) -> dict[str, Token]:
        """Return the tokens of the file, and that of the private address."""
        file = self._settings.token_file
        tokens = read_tokens(file) if file else {}
        if tokens or self._settings.listen is None:
            tokens[digest(self.one_time)] = Token("admin")
        return tokens

    def _open_certificates(self) -> Certificates | None:
        settings = self._settings
        if settings.tls_cert is None or settings.tls_key is None:
            return None
        certificates = Certificates(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
        self._log_certificate(certificates)
        return certificates

    def _log_certificate(self, certificates: Certificates) -> None:
        days_left = (certificates.expires - datetime.datetime.now(datetime.UTC)).days
        event = "certificate" if days_left >= _RENEW_DAYS else "the certificate expires soon, or has expired: renew it"
        self._say(event, expires=certificates.expires.isoformat(), days_left=days_left)
