"""The command line: typer commands, thin."""

from __future__ import annotations

import logging
import os
import sys
import warnings


def main() -> None:
    """Run the command line; an error that the user can mend is one line on stderr and exit status 1."""
    # What libraries say while they are imported is not what the user asked for.
    warnings.filterwarnings("ignore")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    handler = logging.StreamHandler()
    handler.setLevel(logging.ERROR)  # FireWorks' loggers let everything through
    logging.basicConfig(handlers=[handler], format="%(name)s: %(message)s")
    logging.getLogger("pymbar").setLevel(logging.ERROR)

    from alchemflows.cli.commands import app
    from alchemflows.errors import AlchemflowsError

    try:
        app()
    except AlchemflowsError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
