"""Fixtures for tests of several packages: a small potential with weak forces, a crystal, and real databases."""

from __future__ import annotations

import gc
import logging
import os

# Before torch is imported: test processes run in parallel, and several threads each would slow them down.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from campaigns import campaign_metadata
from command_line import start_worker
from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore
from models import GENTLE, save_mace
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.groups import SpaceGroup

from alchemflows.alchemy.backends import loading
from alchemflows.execution import local_worker
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.jobs.jobflow_parts import forget_current_job
from alchemflows.settings import Settings
from alchemflows.storage.database import Database, start_private
from alchemflows.storage.mongod import PrivateMongod

# pymatgen forgets a space group that is not in use, and needs 0.4 s to make it again.
SpaceGroup.__new__ = staticmethod(functools.cache(SpaceGroup.__new__))
# Tests take turns with more potentials than a process usually has; to load one again takes up to 0.7 s.
loading._load = functools.lru_cache(maxsize=16)(loading._load.__wrapped__)


#: They repeat few lines, which others run too, and take half as long again where the coverage is measured.
REPETITIVE = (
    "alchemy/test_exactness.py",
    "alchemy/test_mace_file.py",
    "alchemy/test_optimizations.py",
    "alchemy/test_selfcheck.py",
    "free_energy/test_consistency.py",
    "free_energy/test_convergence.py",
    "free_energy/test_errors.py",
    "sampling/test_langevin.py",
    "sampling/test_monte_carlo.py",
)
assert all((Path(__file__).parent / name).is_file() for name in REPETITIVE)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Look for garbage after the collection only, and never among what stays to the end: the modules and the tests.

    A quarter of the time of the collection would go into this.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/".join(item.path.parts[-2:]) in REPETITIVE:
            item.add_marker("no_cover")


@pytest.fixture(scope="session", autouse=True)
def own_files(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Store the records of compared potentials outside the user's folder, and read no configuration file of the user.

    Both also for commands that tests start.
    """
    os.environ["ALCHEMFLOWS_CHECKS"] = str(tmp_path_factory.mktemp("checks"))
    os.environ["ALCHEMFLOWS_CONFIG_FILE"] = os.devnull


@pytest.fixture(autouse=True)
def no_current_job() -> Iterator[None]:
    """Clear jobflow's record of the current job after each test; jobflow keeps it if a job raises an exception."""
    yield
    forget_current_job()


@pytest.fixture(autouse=True)
def no_handlers_of_builders() -> Iterator[None]:
    """Remove the handlers that a maggma builder adds to the root logger, and never removes, after each test."""
    yield
    root = logging.getLogger()
    for handler in [each for each in root.handlers if type(each).__module__.startswith("maggma.")]:
        root.removeHandler(handler)


@pytest.fixture
def quick_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork local workers from a process that has imported the large libraries, which saves each some seconds."""
    monkeypatch.setattr(local_worker, "start", start_worker)


@pytest.fixture(scope="session")
def gentle_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a small random MACE model with weak forces, whose dynamics are stable for picoseconds."""
    return save_mace(tmp_path_factory.mktemp("gentle") / "gentle.model", "scalars", **GENTLE)


@pytest.fixture(scope="session")
def perovskite() -> Structure:
    """Return the unit cell of cubic CsPbI3."""
    return Structure(
        Lattice.cubic(6.3),
        ["Cs", "Pb", "I", "I", "I"],
        [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]],
    )


@pytest.fixture(scope="session")
def framed_ladder(
    gentle_model: Path, perovskite: Structure, tmp_path_factory: pytest.TempPathFactory
) -> tuple[JobStore, str]:
    """Return the store and the identifier of a ladder with 40 frames of each end, sampled with the gentle model."""
    short = {"n_windows": 2, "n_equilibration_steps": 20, "n_production_steps": 400, "temperature": 200.0}
    maker = ThermodynamicIntegrationMaker(potential=str(gentle_model), windows_per_job=2, relax_maker=None, **short)
    flow = maker.make(perovskite, {"Pb": "Sn"})
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore(key="blob_uuid")})
    run_locally(flow, store=store, root_dir=tmp_path_factory.mktemp("ladder"), ensure_success=True, log=False)
    return store, flow.jobs[-1].uuid


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
    """Return a function that makes a short flow of a ladder as one repeat of the campaign."""

    def make(repeat: int, **settings: object) -> Flow:
        short = {"n_windows": 3, "n_equilibration_steps": 20, "n_production_steps": 200, "relax_maker": None}
        plain = {"potential": str(gentle_model), "temperature": 200.0, "seed": 20 + repeat}
        flow = ThermodynamicIntegrationMaker(**plain | short | settings).make(perovskite, {"Pb": "Sn"})
        flow.update_metadata(campaign_metadata(repeat, pressure_GPa=settings.get("pressure_GPa")))
        return flow

    return make
