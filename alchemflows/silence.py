"""Keep warnings and notices of other libraries, about which a user can do nothing, out of scripts and notebooks."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

#: Warning of scipy on rounding in the strain of a relaxed cell.
LOGM = "logm result may be inaccurate"


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Hide warnings, log messages below errors, and printed text, for example of a library while it is imported."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def without_warning(message: str) -> Iterator[None]:
    """Hide warnings whose text begins with a message (a regular expression)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=message)
        yield
