"""Ladders that are run again with another potential, from their documents and frames."""

from __future__ import annotations

import numpy as np
import pytest

from alchemflows.errors import InvalidInputError
from alchemflows.flows.rerun import change_of, ladder_again
from alchemflows.jobs.frames import frames_of_ladder, stored_ladder
from alchemflows.schemas.frames import Frames
from alchemflows.schemas.potential import PotentialSpec


def crystal(*numbers: int | dict[int, float]) -> Frames:
    """Return two frames of a chain of atoms."""
    composition = [{z: 1.0} if isinstance(z, int) else z for z in numbers]
    positions = np.array([[[2.5 * k + shift, 0.0, 0.0] for k in range(len(numbers))] for shift in (-0.1, 0.1)])
    cell = np.diag([2.5 * len(numbers), 4.0, 4.0])
    return Frames.of(composition, positions, [cell, cell], [-1.0, -1.2], [0.0, 10.0])


def test_the_same_ladder_with_another_potential(framed_ladder, gentle_model):
    store, uuid = framed_ladder
    document = stored_ladder(store, uuid)
    initial, final = frames_of_ladder(store, document)
    flow = ladder_again(document, initial.frames, final.frames, PotentialSpec(name=str(gentle_model), dtype="float64"))
    windows = [job for job in flow.jobs if job.name.startswith("λ =")]
    assert [job.name for job in windows] == ["λ = 0", "λ = 1"]
    maker, path = windows[0].maker, windows[0].function_args[0]
    assert maker.dynamics == document.dynamics and maker.potential.dtype == "float64"
    assert (maker.n_frames, maker.crystal, maker.seed) == (40, True, 0)
    assert path.system.formula(path.initial) == "CsPbI3" and path.system.formula(path.final) == "CsSnI3"
    assert list(path.initial) == document.initial_weights and list(path.system.weight_labels) == document.weight_labels
    assert path.system.structure.volume == pytest.approx(document.volume_A3)
    relax = [job for job in flow.jobs if "relax" in job.name]
    assert len(relax) == 2 and not any(job.maker.maker.relax_cell for job in relax)  # the cell is kept


def test_sites_that_change():
    structure, substitution, sites = change_of(crystal(11, 17, 11, 17), crystal(19, 17, 19, 35))
    assert substitution == {"Na": "K", "Cl": "Br"} and sites == [0, 2, 3]
    np.testing.assert_allclose(structure.cart_coords[:, 0], [0.0, 2.5, 5.0, 7.5], atol=1e-12)
    assert change_of(crystal(11, 17), crystal(19, 17))[2] is None


@pytest.mark.parametrize(
    ("initial", "final", "words"),
    [
        (crystal(11, 17), crystal({11: 0.5, 19: 0.5}, 17), "mixed"),
        (crystal(11, 11), crystal(19, 3), "Na becomes K"),
        (crystal(11, 17), crystal(11, 17), "same elements"),
        (crystal(11, {17: 0.0}), crystal(19, {17: 0.0}), "vacant"),
    ],
)
def test_paths_that_cannot_be_derived(initial, final, words):
    with pytest.raises(InvalidInputError, match=words):
        change_of(initial, final)


def test_other_site_groups_are_refused(framed_ladder, gentle_model):
    store, uuid = framed_ladder
    document = stored_ladder(store, uuid).model_copy(update={"weight_labels": ["Pb[0]", "Sn[0]"]})
    initial, final = frames_of_ladder(store, document)
    with pytest.raises(InvalidInputError, match="site groups"):
        ladder_again(document, initial.frames, final.frames, PotentialSpec(name=str(gentle_model)))
