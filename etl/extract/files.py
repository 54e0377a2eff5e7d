"""Cuts a saved answer (of curl, of PowerShell) into undecoded documents."""

from __future__ import annotations

import codecs
from pathlib import Path

from etl.errors import UsageError
from etl.extract.documents import BYTE_ORDER_MARK, SPACE, Document, Malformed, cut_array, cut_one, cut_page, unwrap

# Windows PowerShell's redirection writes UTF-16.
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_documents(path: Path) -> list[Document]:
    """Read one document, a list of them, or a page (``results``) from a file of JSON.

    Raises UsageError for a file that cannot be opened or is none of these; a bad document among good ones is
    handed on as it is.
    """
    try:
        body = path.read_bytes()
        if body.startswith(_UTF_16):
            body = body.decode("utf-16").encode("utf-8", errors="surrogatepass")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-16 as its first bytes say"
        raise UsageError(f"the file cannot be read ({reason})", where=str(path)) from error
    body = unwrap(body.removeprefix(BYTE_ORDER_MARK).strip(SPACE))
    try:
        if body.startswith(b"["):
            return [document for batch in cut_array([body]) for document in batch]
        try:
            return list(cut_page(body).documents)
        except Malformed:
            return [cut_one(body)]
    except Malformed as error:
        raise UsageError(
            f"this holds {error}", where=str(path), hint="save the answer of GET /vN/Jobs or /vN/Jobs/{id} as it came"
        ) from error
