"""Import mace without the line that it prints where cuequivariance is not installed.

Who asks for those kernels (``kernels="cuequivariance"``) gets an error that says so.
"""

from __future__ import annotations

import contextlib
import io

with contextlib.redirect_stdout(io.StringIO()):
    import mace.tools.cg  # noqa: F401
