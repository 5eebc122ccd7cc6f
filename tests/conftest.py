"""What tests of several rooms share: a gentle small potential, a crystal, and real databases."""

from __future__ import annotations

import os

# Before torch: tests run side by side, and threads of several processes on the same cores slow each other down.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from models import save_mace
from pymatgen.core import Lattice, Structure

from alchemflows.campaign.database import Database, start_private
from alchemflows.campaign.mongod import PrivateMongod
from alchemflows.settings import Settings

#: Weak forces, and the same reference energy for Pb and Sn, so that neighbouring windows overlap.
GENTLE = {"seed": 5, "atomic_inter_scale": 0.3, "correlation": 2, "atomic_energies": np.full(5, -3.0)}


@pytest.fixture(scope="session")
def gentle_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a small random MACE model with weak forces: dynamics stay whole for picoseconds."""
    return save_mace(tmp_path_factory.mktemp("gentle") / "gentle.model", "scalars", **GENTLE)


@pytest.fixture(scope="session")
def perovskite() -> Structure:
    """Return one cell of CsPbI3."""
    return Structure(
        Lattice.cubic(6.3),
        ["Cs", "Pb", "I", "I", "I"],
        [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]],
    )


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Start a private MongoDB for one test."""
    settings = Settings(home=tmp_path / "home")
    server = PrivateMongod(settings.home)
    try:
        yield start_private(settings)
    finally:
        server.stop()
