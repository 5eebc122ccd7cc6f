"""Documents of combined ladders: exact results, terms, refusals, and ladders that cannot be combined."""

from __future__ import annotations

import numpy as np
import pytest
from anharmonic import EXCHANGED_K, LAMBDAS, MASS_TERM_EV_PER_K, exact, stored_ladder

from alchemflows.analysis.combination import combined
from alchemflows.analysis.stored_ladders import StoredLadder, check_alike
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.combination import CombinedLadders
from alchemflows.schemas.reasons import Reason


@pytest.fixture(scope="module")
def ladders() -> list[StoredLadder]:
    return [stored_ladder(300.0, 0.0, seed=1), stored_ladder(360.0, 0.0, seed=2)]


@pytest.fixture(scope="module")
def document(ladders) -> CombinedLadders:
    return combined(ladders)


def keys(document: CombinedLadders) -> set[Reason | None]:
    return {Reason.of(each) for each in document.verdict.reasons}


def test_points_are_exact_within_their_errors_and_contain_the_mass_term(document):
    assert (document.temperatures_K[0], document.temperatures_K[-1]) == (300.0, 360.0)
    assert {300.0, 360.0} <= set(document.temperatures_K) and len(document.temperatures_K) == 11
    assert document.pressures_GPa == [0.0] and document.ensemble == "NPT" and document.volume_A3 is None
    for point in document.points:
        free, enthalpy, entropy, heat, volume = exact(point.temperature_K, 0.0)
        mass = MASS_TERM_EV_PER_K * point.temperature_K
        assert point.mass_term_eV == pytest.approx(mass)
        assert abs(point.total.delta_f_eV - free - mass) < 4 * point.total.error_eV
        assert abs(point.delta_h_eV - enthalpy) < 4 * point.delta_h_error_eV
        assert abs(point.delta_s_eV_per_K - entropy + MASS_TERM_EV_PER_K) < 4 * point.delta_s_error_eV_per_K
        assert abs(point.delta_c_eV_per_K - heat) < 4 * point.delta_c_error_eV_per_K
        assert abs(point.delta_v_A3 - volume) < 4 * point.delta_v_error_A3
        # G = H − TS holds for the totals.
        total = point.delta_h_eV - point.temperature_K * point.delta_s_eV_per_K
        assert point.total.delta_f_eV == pytest.approx(total, abs=1e-9)


def test_the_covariance_has_the_squared_errors(document):
    errors = [point.total.error_eV for point in document.points]
    np.testing.assert_allclose(np.sqrt(np.diagonal(document.covariance_eV2)), errors)
    assert document.covariance_eV2[0][1] > 0


def test_ladders_alone_agree_with_all_together(document, ladders):
    for part, ladder in zip(document.ladders, ladders, strict=True):
        assert part.uuid == ladder.uuid and part.n_windows == len(LAMBDAS)
        # The ladder's own analysis thins its samples in another way.
        error = np.hypot(part.alone.error_eV, ladder.document.total.error_eV)
        assert abs(part.alone.delta_f_eV - ladder.document.total.delta_f_eV) < 2 * error
        assert part.together.error_eV < part.alone.error_eV
        assert part.deviation_sigma < 4
    assert len(document.states) == 2 * len(LAMBDAS) == len(document.overlaps)
    assert {state.component for state in document.states} == {0}
    assert np.diagonal(document.overlaps) == pytest.approx(0.5)


def test_points_outside_of_what_was_sampled_are_refused_with_the_reason(ladders):
    found = combined(ladders, [330.0, 2500.0, 3000.0])
    inside, *outside = found.points
    assert inside.total is not None
    assert all(each.total is None and each.delta_h_eV is None and each.delta_v_A3 is None for each in outside)
    assert found.covariance_eV2[0][1] is None and found.covariance_eV2[0][0] is not None
    (reason,) = [each for each in found.verdict.reasons if Reason.of(each) is Reason.NOT_SAMPLED]
    assert "2500 to 3000 K" in reason
    with pytest.raises(InvalidInputError, match="3000 K"):
        combined(ladders, [3000.0])


def test_pressures(ladders):
    found = combined([*ladders, stored_ladder(300.0, 1.0, seed=3)], [310.0])
    assert found.pressures_GPa == [0.0, 1.0]
    for point in found.points:
        assert abs(point.total.delta_f_eV - point.mass_term_eV - exact(310.0, point.pressure_GPa)[0]) < (
            4 * point.total.error_eV
        )


def test_one_ladder_at_constant_volume_has_derivatives_at_its_temperature():
    found = combined([stored_ladder(300.0)])
    (point,) = found.points
    _, energy, _, heat, _ = exact(300.0)
    assert (point.pressure_GPa, point.delta_v_A3, found.ensemble) == (None, None, "NVT")
    assert abs(point.delta_h_eV - energy) < 4 * point.delta_h_error_eV
    assert abs(point.delta_c_eV_per_K - heat) < 4 * point.delta_c_error_eV_per_K
    assert found.ladders[0].deviation_sigma is None


def test_windows_of_other_grids_are_left_out_with_a_note():
    """A window at a λ at which another ladder has no energies cannot be used."""
    fine, coarse = stored_ladder(300.0), stored_ladder(330.0, seed=1)
    output = coarse.windows[0]
    kept = [0, 2, 4]
    windows = []
    for index, k in enumerate(kept):
        window = output.windows[k]
        samples = window.series.unpack()
        fewer = type(samples)(**(vars(samples) | {"energies_eV": samples.energies_eV[:, kept]}))
        packed = type(window.series).pack(fewer, window.series.end())
        windows.append(window.model_copy(update={"index": index, "series": packed}))
    grid = [output.lambdas[k] for k in kept]
    changed = output.model_copy(update={"lambdas": grid, "windows": windows})
    found = combined([fine, StoredLadder(coarse.uuid, coarse.document, [changed])])
    assert [part.n_windows for part in found.ladders] == [3, 3]
    assert sum("is not used" in note for note in found.verdict.notes) == 2


def test_a_ladder_in_another_state_is_noticed(ladders):
    """All energies of one ladder at λ = 1 are shifted, as if its crystal had changed there."""
    other = ladders[1]
    output = other.windows[0]
    windows = []
    for window in output.windows:
        samples = window.series.unpack()
        shift = 0.05 * np.array(LAMBDAS)
        moved = type(samples)(**(vars(samples) | {"energies_eV": samples.energies_eV + shift}))
        windows.append(window.model_copy(update={"series": type(window.series).pack(moved, window.series.end())}))
    shifted = StoredLadder(other.uuid, other.document, [output.model_copy(update={"windows": windows})])
    found = combined([ladders[0], shifted])
    assert Reason.LADDER_DEVIATES in keys(found)


def test_reasons_of_the_ladders_are_repeated_with_their_names(ladders):
    short = stored_ladder(330.0, 0.0, n=30, memory=2.0, seed=5)
    assert short.document.verdict.reasons
    found = combined([*ladders, short])
    assert any(each.startswith(f"ladder {short.uuid[:8]} (330 K, 0 GPa): ") for each in found.verdict.reasons)


def test_replica_exchange(ladders):
    exchanged = stored_ladder(330.0, 0.0, seed=4, replica_exchange=True)
    found = combined([ladders[0], exchanged])
    assert all(abs(part.deviation_sigma) < 4 for part in found.ladders)


@pytest.mark.parametrize("along_lambda", [False, True])
def test_one_ladder_with_exchanged_temperatures_gives_a_curve(along_lambda):
    ladder = stored_ladder(300.0, 0.0, seed=6, exchanged=True, replica_exchange=along_lambda)
    found = combined([ladder])
    assert (found.temperatures_K[0], found.temperatures_K[-1]) == (EXCHANGED_K[0], EXCHANGED_K[-1])
    for point in found.points:
        free, enthalpy, *_ = exact(point.temperature_K, 0.0)
        assert abs(point.total.delta_f_eV - free - point.mass_term_eV) < 4 * point.total.error_eV
        assert abs(point.delta_h_eV - enthalpy) < 4 * point.delta_h_error_eV
    assert [part.temperature_K for part in found.ladders] == list(EXCHANGED_K)
    assert {part.uuid for part in found.ladders} == {ladder.uuid} and not found.verdict.notes
    assert all(part.deviation_sigma < 4 for part in found.ladders)
    assert [state.ladder for state in found.states] == [k for k in range(3) for _ in LAMBDAS]
    assert {state.component for state in found.states} == {0}


def test_ladders_with_and_without_exchanged_temperatures(ladders):
    """Blocks of the ladder that follows are not those of the exchanged one."""
    exchanged = stored_ladder(300.0, 0.0, seed=7, exchanged=True)
    found = combined([exchanged, ladders[1]], [330.0])
    assert [part.temperature_K for part in found.ladders] == [*EXCHANGED_K, 360.0]
    assert all(part.deviation_sigma < 4 for part in found.ladders)
    assert found.points[0].total.error_eV < combined([exchanged], [330.0]).points[0].total.error_eV


def test_samples_that_an_earlier_release_did_not_store_are_named():
    ladder = stored_ladder(300.0, 0.0, n=40, seed=6, exchanged=True)
    (output,) = ladder.windows
    windows = []
    for window in output.windows:
        series = type(window.series).pack(window.series.unpack(), window.series.end())
        windows.append(window.model_copy(update={"series": series}))
    found = combined([StoredLadder(ladder.uuid, ladder.document, [output.model_copy(update={"windows": windows})])])
    assert found.temperatures_K == [300.0] and len(found.ladders) == 1
    assert sum("did not store" in note for note in found.verdict.notes) == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"final_formula": "LiCl"}, "transformation.*LiCl"),
        ({"counts": {"atoms": 4, "sites": 4, "formula_units": 2}}, "number of atoms.*4 atoms"),
        ({"coupling": "mean-field"}, "coupling.*mean-field"),
        ({"weight_labels": ["Na", "Rb"]}, "weight_labels"),
        ({"final_weights": [0.5, 0.5]}, "final weights"),
        ({"potential": {"name": "another"}}, "potential.*another"),
        ({"potential": {"sha256": "1" * 64}}, "SHA-256"),
        ({"potential": {"head": "omat"}}, "head.*omat"),
    ],
)
def test_ladders_of_another_system_are_refused_before_their_samples_are_read(ladders, changed, message):
    other = stored_ladder(360.0, 0.0, n=20, **changed)
    with pytest.raises(InvalidInputError, match=message):
        check_alike([(each.uuid, each.document) for each in (ladders[0], other)])


def test_other_ladders_that_cannot_be_combined(ladders):
    first = ladders[0]
    with pytest.raises(InvalidInputError, match="constant volume"):
        combined([first, stored_ladder(330.0, n=20)])
    with pytest.raises(InvalidInputError, match="twice"):
        combined([first, first])
    with pytest.raises(InvalidInputError, match="no ladders"):
        combined([])
    with pytest.raises(InvalidInputError, match=r"volumes differ.*100\.0000 and 103"):
        combined([stored_ladder(300.0, n=20), stored_ladder(330.0, n=20, volume_A3=103.0)])
    with pytest.raises(InvalidInputError, match="at another site"):
        combined([first, stored_ladder(330.0, 0.0, n=20, start={"sites": [[0, 0, 0], [0.5, 0.5, 0.0]]})])
    with pytest.raises(InvalidInputError, match="shapes of their cells"):
        combined([first, stored_ladder(330.0, 0.0, n=20, start={"sites_cell_A": np.diag([5.0, 5.0, 5.2])})])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperatures_K": [0.0]}, "temperatures_K"),
        ({"temperatures_K": []}, "temperatures_K"),
        ({"pressures_GPa": [float("nan")]}, "pressures_GPa"),
        ({"discard": 1.0}, "discard"),
        ({"discard": 0.99}, "discard"),
    ],
)
def test_arguments(ladders, arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        combined(ladders, **arguments)


def test_pressures_at_constant_volume_are_refused():
    with pytest.raises(InvalidInputError, match="constant volume"):
        combined([stored_ladder(300.0, n=20)], pressures_GPa=[1.0])


def test_temperatures_above_all_ladders_with_a_small_coverage_have_a_note(ladders):
    near, far = [200.0, 300.0, 340.0], [460.0, 480.0]
    found = combined(ladders[:1], near + far)
    assert all(point.total is not None for point in found.points)
    assert min(found.points[-2].coverage) < 0.5 < min(min(point.coverage) for point in found.points[:3])
    (note,) = found.verdict.notes
    assert "460 to 480 K" in note and f"{min(found.points[-1].coverage):.0%}" in note
    assert not combined(ladders[:1], near).verdict.notes
