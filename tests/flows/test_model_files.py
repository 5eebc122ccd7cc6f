"""Tests that jobs read only the potential file with which their flow was made, since model files are pickles."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore
from monty.json import MontyEncoder
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.compositions import CompositionGrid
from alchemflows.errors import PotentialError
from alchemflows.flows.composition_optimization import CompositionOptimizationMaker
from alchemflows.flows.composition_sweep import CompositionSweepMaker
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.order_disorder import OrderDisorderMaker
from alchemflows.flows.ordering_search import OrderingSearchMaker
from alchemflows.flows.phase_stability import PhaseStabilityMaker
from alchemflows.flows.switching import SwitchingMaker
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.flows.vacancy import VacancyFreeEnergyMaker
from alchemflows.schemas.optimization import Target
from alchemflows.schemas.potential import PotentialSpec

DEMO = "mace-demo"


class Trap:
    """A pickle that creates a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_potential_file_that_was_replaced_after_submission_is_not_read(
    gentle_model: Path, perovskite: Structure, tmp_path: Path
) -> None:
    path, sprung = tmp_path / "my.model", tmp_path / "sprung"
    shutil.copy(gentle_model, path)
    flow = ThermodynamicIntegrationMaker(potential=str(path), n_windows=3).make(perovskite, {"Pb": "Sn"})
    torch.save(Trap(sprung), path)
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    with pytest.raises(PotentialError, match="SHA-256"):
        run_locally(flow, store=store, raise_immediately=True, log=False)
    assert not sprung.exists()
    torch.load(path, weights_only=False)
    assert sprung.exists()  # loading the pickle does create the file


def flows() -> Iterator[Flow]:
    iron = Structure.from_spacegroup("Im-3m", Lattice.cubic(2.85), ["Fe"], [[0, 0, 0]]) * (2, 2, 2)
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    mixed = salt.copy()
    mixed.replace_species({"Na": {"Na": 0.5, "K": 0.5}})
    absolute = FrenkelLaddMaker(potential=DEMO)
    yield ThermodynamicIntegrationMaker(potential=DEMO, target_error=1e-3).make(salt, {"Na": "K"})
    yield SwitchingMaker(potential=DEMO).make(salt, {"Na": "K"})
    yield absolute.make(iron)
    yield VacancyFreeEnergyMaker(frenkel_ladd_maker=absolute).make(iron)
    yield PhaseStabilityMaker(frenkel_ladd_maker=absolute).make({"rock salt": salt}, [300.0])
    grid = CompositionGrid.line(salt, {"Na": "K"}, [0.0, 0.5])
    yield CompositionSweepMaker(potential=DEMO).make(grid)
    target = Target(quantity="a_A", value=5.9)
    yield CompositionOptimizationMaker(potential=DEMO).make(salt, {"Na": ["Na", "K"]}, [target])
    yield OrderingSearchMaker(potential=DEMO).make(mixed)
    yield OrderDisorderMaker(potential=DEMO, quasirandom=False).make(mixed, (1, 1, 1))


def hashes(value: Any) -> Iterator[str | None]:
    """Yield the SHA-256 of each potential spec in a serialised job, and each potential that is given by name only."""
    if isinstance(value, dict):
        if value.get("@class") == "PotentialSpec":
            yield PotentialSpec.from_dict(value).sha256
        elif isinstance(value.get("potential"), str):
            yield value["potential"]
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from hashes(inner)


def test_every_job_of_every_flow_contains_the_hash_of_its_potential() -> None:
    digest = load_potential(DEMO).record.sha256
    for flow in flows():
        jobs = [json.loads(json.dumps(job, cls=MontyEncoder)) for job, _ in flow.iterflow()]
        assert {sha256 for job in jobs for sha256 in hashes(job)} == {digest}, flow.name
