"""The command line; its commands build settings and engine and hand them down, and know no SQL and no HTTP."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from io import TextIOWrapper


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end the process with its exit code; errors are one line on stderr, stdout stays clean."""
    gc.set_threshold(50_000)  # 700 is the default: a fifth of a pass, for rows that all live until they are written

    from etl.cli.app import command_line
    from etl.cli.output import WHERE_IT_HAPPENED, print_error, unexpected
    from etl.errors import Vb365EtlError

    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, TextIOWrapper):  # a name that the terminal's code page lacks must not end the command
        sys.stdout.reconfigure(errors="replace")
    try:
        command_line(arguments, prog_name="vb365-etl")
    except Vb365EtlError as error:
        print_error(f"{error.where}: {error.what}" if error.where else error.what, error.hint)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - told below, where it happened with --debug
        if "--debug" in arguments:
            import traceback

            from etl.log import redact

            sys.stderr.write(redact(traceback.format_exc()))  # an exception's text may hold secrets
        print_error(unexpected(error), WHERE_IT_HAPPENED)
        sys.exit(1)
