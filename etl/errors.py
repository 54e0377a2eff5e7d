"""Every error a user can meet, as one tree, each with its exit code; the parent's where it names none."""

from __future__ import annotations


class Vb365EtlError(Exception):
    """Anything the program can explain to its user: what happened, where, and what to do next."""

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.what, self.where, self.hint = what, where, hint
        super().__init__(what)

    @property
    def kind(self) -> str:
        """The stable word for this kind of error, as the ledger and JSON output spell it."""
        return type(self).__name__

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} ({self.hint})" if self.hint else text


class UsageError(Vb365EtlError):
    """The command line asks for something that makes no sense."""

    exit_code = 2


class ConfigurationError(Vb365EtlError):
    """A setting is missing, misspelt or contradicts what the database knows."""

    exit_code = 4


class SecretError(ConfigurationError):
    """A secret that the settings point at cannot be read."""


class UnknownVersion(ConfigurationError):
    """A setting or the database names a version of the API that this program does not know."""


class NothingToRead(ConfigurationError):
    """No stream was read: the version of the API has none of those that the settings name."""


class IdentityError(ConfigurationError):
    """The server that answers is not the one that the settings or the database mean."""


class SourceError(Vb365EtlError):
    """A VB365 server could not be read."""


class SignInError(SourceError):
    """The server refused the account."""

    exit_code = 4


class VersionNotServed(SourceError):
    """The server does not serve the configured version of its API."""

    exit_code = 4


class Unreachable(SourceError):
    """No connection: unknown host, refused, timed out, reset."""


class CertificateRefused(SourceError):
    """The server's certificate is not one that the settings trust."""


class AccessDenied(SourceError):
    """403: the account may not read this."""


class NotFound(SourceError):
    """404 or 410 with the API's own JSON error: the object is not there."""


class ServerFailed(SourceError):
    """The server answered 429 or 5xx, still after all retries."""


class ForeignOrigin(SourceError):
    """A link or a redirect leads away from the configured server; the token stays here."""


class BadResponse(SourceError):
    """An answer that is not what the API promises: HTML, cut off, not JSON, an unexpected status.

    ``status`` is that of the answer, where it is that which was not expected; ``missing_status`` one that says "not
    there" (404, 410) where the API's JSON error is not with it.
    """

    status: int | None = None
    missing_status: int | None = None


class DeadlineReached(SourceError):
    """The pass has talked to the server for as long as it may."""


class ClocksDisagree(SourceError):
    """This machine, the server and a third clock cannot be brought together: nobody knows what time it is."""


class DocumentRejected(SourceError):
    """At least one document could not be read; the others were."""

    exit_code = 3


class PagesShifted(SourceError):
    """The pages of a list moved while they were read, twice in a row."""

    exit_code = 3


class IncompleteList(SourceError):
    """A list ended before it had shown as many items as it announced."""

    exit_code = 3


class MassRemovalRefused(SourceError):
    """So many jobs are missing at once that the source is doubted rather than the jobs removed."""

    exit_code = 3


class WarehouseError(Vb365EtlError):
    """The database could not do what was asked."""


class WarehouseUnreachable(WarehouseError):
    """The database cannot be opened, signed in to, or written."""


class Contended(WarehouseError):
    """Other transactions kept writing the same rows; nothing of this one was written."""


class RevisionMismatch(WarehouseError):
    """The database's schema is newer than this program, or must be upgraded first."""


class LostLock(WarehouseError):
    """Another process took this pass over; nothing more is written."""

    exit_code = 5


class ExportFailed(Vb365EtlError):
    """The folder of an export cannot be written."""


class Stopped(Vb365EtlError):
    """The program was told to end while a pass ran; the next one completes it."""


class Locked(Vb365EtlError):
    """Another process works on the same server or database just now."""

    exit_code = 5


def is_missing(error: Exception) -> bool:
    """Tell whether an error says that something is not there, be it clear (NotFound) or not."""
    return isinstance(error, NotFound) or (isinstance(error, BadResponse) and error.missing_status is not None)


def worst(codes: list[int]) -> int:
    """Return the exit code for several servers: the worst of 4, 1, 5, 3, 0 in this order."""
    return next((code for code in (4, 1, 5, 3) if code in codes), 0)
