"""Seeds of many random generators from one."""

from __future__ import annotations

from zlib import crc32

import numpy as np


def derived_seeds(seed: int, purpose: str, n: int) -> list[int]:
    """Return n seeds for one purpose; other purposes have others."""
    sequence = np.random.SeedSequence([seed, crc32(purpose.encode())])
    return [int(state >> 1) for state in sequence.generate_state(n, np.uint64)]
