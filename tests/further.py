"""What a test repeats with further API versions or cases of a kind: in CI, while some are tried every time."""

from __future__ import annotations

from typing import Any

import pytest


def in_ci(*values: Any) -> list[Any]:
    """Return parameters, a tuple for several at once, that plain pytest leaves out."""
    each_of = (each if isinstance(each, tuple) else (each,) for each in values)
    return [pytest.param(*each, marks=pytest.mark.ci) for each in each_of]
