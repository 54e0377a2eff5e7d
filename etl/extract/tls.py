"""Which certificate of a server is trusted: the system's say, a CA file, or one pinned fingerprint; never any."""

from __future__ import annotations

import hashlib
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import truststore

from etl.errors import CertificateRefused, ConfigurationError

# What OpenSSL calls the reasons (X509_V_ERR_...), in words for an administrator.
_REASONS = {
    9: "its certificate is not yet valid",
    10: "its certificate has expired",
    18: "its certificate is self-signed and nothing in the settings trusts it",
    19: "its certificate comes from a CA that is not trusted here",
    20: "its certificate comes from a CA that is not trusted here",
    21: "its certificate comes from a CA that is not trusted here",
    62: "its certificate is for another host name",
    64: "its certificate is for another IP address",
}
_NOT_TRUSTED = {18, 19, 20, 21}


@dataclass(frozen=True)
class Trust:
    """How the certificate of one server is judged. Without ca_file and fingerprint the system's CAs decide."""

    host: str
    port: int
    where: str
    timeout_seconds: float
    ca_file: Path | None = None
    fingerprint_sha256: str | None = None

    def context(self) -> ssl.SSLContext:
        """Build the context for every connection; a pinned server is looked at first.

        Raises CertificateRefused, ConfigurationError (ca_file), OSError (no connection).
        """
        if self.fingerprint_sha256:
            return self._pinned(self.fingerprint_sha256)
        if self.ca_file:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            try:
                context.load_verify_locations(cafile=self.ca_file)
            except OSError as error:  # ssl.SSLError is one
                reason = "no PEM in it" if isinstance(error, ssl.SSLError) else error.strerror
                raise ConfigurationError(
                    f"ca_file {self.ca_file} cannot be read: {reason}",
                    where=self.where,
                    hint="it must be a PEM file with the CA's certificate, or the server's own",
                ) from error
            return context
        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def _pinned(self, expected: str) -> ssl.SSLContext:
        """Trust exactly the certificate with this fingerprint; whose name it bears does not matter then."""
        pem = self._served()
        if _fingerprint(pem) != expected.replace(":", "").lower():
            raise self._other_fingerprint(expected, pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=pem)
        return context

    def _served(self) -> str:
        """Fetch the certificate that the server shows, as PEM; nothing is sent on that connection."""
        return ssl.get_server_certificate((self.host, self.port), timeout=self.timeout_seconds)

    def refused(self, error: ssl.SSLCertVerificationError) -> CertificateRefused:
        """Explain why a handshake failed, and what the administrator can do."""
        code = getattr(error, "verify_code", None)
        pem = ""
        with suppress(OSError):
            pem = self._served()
        if self.fingerprint_sha256 and pem and _fingerprint(pem) != self.fingerprint_sha256.replace(":", "").lower():
            return self._other_fingerprint(self.fingerprint_sha256, pem)
        what = _REASONS.get(code or 0) or f"its certificate is refused: {getattr(error, 'verify_message', '') or error}"
        if code not in _NOT_TRUSTED:
            hint = "renew the certificate on the server" if code in (9, 10) else "use the name in it in the url"
            hint += ", or check the clocks" if code in (9, 10) else ", or pin it with fingerprint_sha256"
        elif pem:
            hint = (
                f"it shows SHA-256 {_colons(_fingerprint(pem))}: compare that on the server itself, then set "
                f'fingerprint_sha256 = "{_colons(_fingerprint(pem))}", or ca_file = the PEM file of its CA'
            )
        else:
            hint = "set ca_file to the PEM file of its CA, or fingerprint_sha256 to its SHA-256 fingerprint"
        return CertificateRefused(what, where=self.where, hint=hint)

    def _other_fingerprint(self, expected: str, pem: str) -> CertificateRefused:
        return CertificateRefused(
            f"its certificate is not the pinned one: expected SHA-256 {_colons(expected)}, "
            f"served {_colons(_fingerprint(pem))}",
            where=self.where,
            hint="if the certificate was renewed, compare the served fingerprint on the server itself and set "
            "fingerprint_sha256 to it; if not, someone may sit in between",
        )


def speaks_tls(host: str, port: int, timeout_seconds: float) -> bool:
    """Tell whether a port answers a TLS handshake, whoever answers; nothing is sent on that connection."""
    with suppress(OSError, ValueError):
        return bool(ssl.get_server_certificate((host, port), timeout=min(timeout_seconds, 5.0)))
    return False


def _fingerprint(pem: str) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def _colons(fingerprint: str) -> str:
    digits = fingerprint.replace(":", "").upper()
    return ":".join(digits[place : place + 2] for place in range(0, len(digits), 2))
