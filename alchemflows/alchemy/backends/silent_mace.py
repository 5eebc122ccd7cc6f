"""Import mace without its warnings, and without the line that it prints if cuequivariance is not installed.

A request for these kernels (``kernels="cuequivariance"``) raises an error that says so.
"""

from __future__ import annotations

from alchemflows.silence import silenced

with silenced():
    import mace.calculators  # noqa: F401
