"""What tests of several rooms share: a gentle small potential, a crystal, and real databases."""

from __future__ import annotations

import os

# Before torch: tests run side by side, and threads of several processes on the same cores slow each other down.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from campaigns import campaign_metadata
from jobflow import Flow
from models import save_mace
from pymatgen.core import Lattice, Structure

from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.settings import Settings
from alchemflows.storage.database import Database, start_private
from alchemflows.storage.mongod import PrivateMongod

#: Weak forces, and the same reference energy for Pb and Sn, so that neighbouring windows overlap.
GENTLE = {"seed": 5, "atomic_inter_scale": 0.3, "correlation": 2, "atomic_energies": np.full(5, -3.0)}


@pytest.fixture(scope="session", autouse=True)
def checks_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the records of compared models out of the user's folder, also those of commands that tests start."""
    os.environ["ALCHEMFLOWS_CHECKS"] = str(tmp_path_factory.mktemp("checks"))


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


@pytest.fixture(scope="module")
def shared_database(tmp_path_factory) -> Iterator[Database]:
    """Start a private MongoDB for the tests of one module."""
    home = tmp_path_factory.mktemp("home")
    try:
        yield start_private(Settings(home=home))
    finally:
        PrivateMongod(home).stop()


@pytest.fixture(scope="module")
def ladder_flow(gentle_model, perovskite) -> Callable[..., Flow]:
    """Return what makes a short flow of a ladder, a repeat of the campaign."""

    def make(repeat: int, **settings: object) -> Flow:
        short = {"n_windows": 3, "n_equilibration_steps": 20, "n_production_steps": 200, "relax_maker": None}
        plain = {"potential": str(gentle_model), "temperature": 200.0, "seed": 20 + repeat}
        flow = ThermodynamicIntegrationMaker(**plain | short | settings).make(perovskite, {"Pb": "Sn"})
        flow.update_metadata(campaign_metadata(repeat, pressure_GPa=settings.get("pressure_GPa")))
        return flow

    return make
