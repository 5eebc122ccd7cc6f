"""Frames of a flow of switches: what is stored of them, and their export."""

from __future__ import annotations

import numpy as np
import pytest
from ase.io import read
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows.alchemy.targets import PotentialTarget
from alchemflows.analysis.frames import switching_frames
from alchemflows.errors import InvalidInputError
from alchemflows.flows.switching import SwitchingMaker
from alchemflows.results.frames import end_states, write_frames
from alchemflows.schemas.document import decoded
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.switching import SwitchingDocument


@pytest.fixture(scope="module")
def switched(gentle_model, perovskite, tmp_path_factory) -> SwitchingDocument:
    """Return the stored result of 2 + 2 switches after 10 blocks of equilibration."""
    lengths = {"n_repeats": 2, "n_equilibration_steps": 200, "n_switching_steps": 20}
    maker = SwitchingMaker(
        potential=str(gentle_model), temperature=200.0, pressure_GPa=None, relax_maker=None, n_frames=8, **lengths
    )
    flow = maker.make(perovskite, {"Pb": "Sn"})
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore(key="blob_uuid")})
    run_locally(flow, store=store, root_dir=tmp_path_factory.mktemp("switches"), ensure_success=True, log=False)
    assert "blob_uuid" in store.get_output(flow.output.uuid, load=False)["initial_frames"]
    return decoded(store.get_output(flow.output.uuid, load=True))


def test_frames_of_both_ends_are_stored_with_their_energies(switched, gentle_model):
    """Four of each replica, evenly spaced over the second half of the equilibration."""
    target = PotentialTarget(PotentialSpec(name=str(gentle_model), dtype="float64", device="cpu"))
    for sampled, symbol in zip(switching_frames(switched), ("Pb", "Sn"), strict=True):
        images = sampled.frames.atoms()
        assert sampled.frames.time_fs.tolist() == [240.0, 280.0, 320.0, 400.0] * 2 and sampled.spacing_fs == 40.0
        assert all(symbol in image.get_chemical_symbols() for image in images)
        np.testing.assert_allclose(target.energies(images), sampled.frames.energy_eV, atol=1e-3)
        assert sampled.correlation_time_fs >= 0.0


def test_frames_are_exported(switched, tmp_path):
    states = end_states(switched, *switching_frames(switched))
    assert write_frames(switched, states, tmp_path / "ends.xyz", forces=True, device="cpu") == 16
    images = read(tmp_path / "ends.xyz", ":")
    assert [image.info["lambda"] for image in images] == [0.0] * 8 + [1.0] * 8
    assert all(np.abs(image.get_forces()).max() > 0 for image in images)


def test_switches_without_frames_are_named(switched, perovskite):
    with pytest.raises(InvalidInputError, match="n_frames = 0"):
        switching_frames(switched.model_copy(update={"final_frames": None}))
    with pytest.raises(InvalidInputError, match="n_frames"):
        SwitchingMaker(n_frames=-1).make(perovskite, {"Pb": "Sn"})
