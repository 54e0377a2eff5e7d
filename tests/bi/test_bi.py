"""The BI tools themselves, each a script that says what it does; ``.ci/run superset`` installs what it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.bi, pytest.mark.timeout(1800)]
FOLDER = Path(__file__).parent


@pytest.mark.parametrize("tool", ["superset", "odbc"])
def test_a_tool_reads_the_databases(tool: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(FOLDER / f"{tool}.py"), str(tmp_path)], check=True)
