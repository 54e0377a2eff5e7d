"""The questions of the SQL contract as ``questions.sql`` holds them; it must not know their answers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_FILE = Path(__file__).with_name("questions.sql")


class Question(NamedTuple):
    """What somebody wants to know, and the SELECT that answers it."""

    number: int
    text: str
    select: str


QUESTIONS = tuple(
    Question(int(number), text, select)
    for number, text, select in re.findall(
        r"^-- (\d+) ([^\n]+)\n(SELECT\b.*?);$", _FILE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
)
