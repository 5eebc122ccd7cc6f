"""Import mace without the line that it prints if cuequivariance is not installed.

A request for these kernels (``kernels="cuequivariance"``) raises an error that says so.
"""

from __future__ import annotations

import contextlib
import io

with contextlib.redirect_stdout(io.StringIO()):
    import mace.tools.cg  # noqa: F401
