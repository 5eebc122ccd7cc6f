"""Derive seeds of several random number generators from one seed."""

from __future__ import annotations

from zlib import crc32

import numpy as np


def derived_seeds(seed: int, purpose: str, n: int) -> list[int]:
    """Return n seeds for a purpose, derived from one seed; different purposes get different seeds."""
    sequence = np.random.SeedSequence([seed, crc32(purpose.encode())])
    return [int(state) >> 1 for state in sequence.generate_state(n, np.uint64)]
