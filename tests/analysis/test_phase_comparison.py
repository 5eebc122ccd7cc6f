"""Phases compared by curves, from works whose free energies are known: transitions, lost crystals, single runs."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pytest
from ase import units
from rich.console import Console
from stored import DOCUMENTS, read_example

from alchemflows.analysis.isolines import isotherm_of
from alchemflows.analysis.melting import melting_document
from alchemflows.analysis.phases import OtherPressures, PhaseComposition, Point, compare, compare_curves
from alchemflows.cli.shown import show
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.einstein import HBAR
from alchemflows.plotting import figures_of, plot_phases
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.frenkel_ladd import FreeEnergyValue, FrenkelLaddDocument
from alchemflows.schemas.isolines import PressureSweepDocument, TemperatureSweepDocument
from alchemflows.schemas.samples import PackedArrays

N, LOW, ANCHOR, HIGH = 16, 300.0, 400.0, 600.0
CELL = Counts(atoms=N, sites=N, formula_units=N)
TEMPERATURES = [300.0, 400.0, 500.0, 600.0]
#: Transition temperature (K), and ΔS (eV/K) and ΔV (Å³) of the cell.
TRANSITION, ENTROPY, VOLUME = 450.0, 1.6e-3, 8.0
ENERGY = {"cold": 0.0, "warm": TRANSITION * ENTROPY}
VOLUMES = {"cold": 180.0, "warm": 180.0 + VOLUME}
G_ERROR, NOISE = 2e-3, 1e-3
#: Square of the frequency of all modes (eV/Å²/amu), with lighter atoms or stiffer bonds in the cold phase.
SQUARES = {"cold": 0.2, "warm": 0.1}
QUANTUM_SHIFT = 3 * N * HBAR**2 * (SQUARES["warm"] - SQUARES["cold"]) / (24 * units.kB * TRANSITION) / ENTROPY


def gibbs(phase: str, temperature: float) -> float:
    """Return the exact G of a cell: harmonic modes, and for the second phase an energy and an entropy (eV)."""
    extra = 0.0 if phase == "cold" else ENTROPY * (TRANSITION - temperature)
    return extra - 3 * N * units.kB * temperature * np.log(temperature / ANCHOR)


def example(kind):
    output = read_example(DOCUMENTS / f"{kind.__name__}-1.json")["outputs"][-1]["output"]
    if "curves" in output["work"]:
        output["work"]["curves"] = {"npz_base64": ""}
    return kind.read(output)


def value(exact: float, rng: np.random.Generator) -> FreeEnergyValue:
    noisy = exact + G_ERROR * rng.normal()
    return FreeEnergyValue(value_eV=noisy, error_eV=G_ERROR, value_eV_per_atom=noisy / N, error_eV_per_atom=G_ERROR / N)


def packed(
    phase: str, places: np.ndarray, exact: np.ndarray, kT: float, rng: np.random.Generator, *, forces: bool = False
) -> PackedArrays:
    """Return the arrays of a sweep; the works have a small noise, and the dissipation of Crooks' theorem."""
    increments, lost, shape = np.diff(exact), NOISE**2 / (2 * kT), (4, len(places) - 1)

    def works(sign: int) -> np.ndarray:
        moved = sign * increments[::sign] + lost + NOISE * rng.normal(size=shape)
        return np.cumsum(np.column_stack([np.zeros(4), moved]), axis=1)

    arrays = {
        "places": places,
        "forward_eV": works(1),
        "backward_eV": works(-1),
        "forward_volumes_A3": VOLUMES[phase] + 0.3 * rng.normal(size=shape),
        "backward_volumes_A3": VOLUMES[phase] + 0.3 * rng.normal(size=shape),
    }
    if forces:
        middle = np.sqrt(places[1:] * places[:-1])
        squares = 3 * N * SQUARES[phase] * units.kB * LOW**2 / middle * (1 + 0.05 * rng.normal(size=(2, *shape)))
        names = ("forward_force_squares", "backward_force_squares")
        arrays |= dict(zip(names, squares[..., None], strict=True)) | {"kind_counts": np.array([N])}
    return PackedArrays(npz_base64=PackedArrays.encode(**arrays))


def squeezed(phase: str, rng: np.random.Generator, high: float) -> PressureSweepDocument:
    """Return a sweep of the pressure from 0, at which G is that of the anchor."""
    template, places = example(PressureSweepDocument), np.linspace(0.0, high, 13)
    curves = packed(phase, places, VOLUMES[phase] * places * units.GPa, units.kB * ANCHOR, rng)
    known = {"temperature_K": ANCHOR, "pressure_GPa": 0.0, "gibbs": value(gibbs(phase, ANCHOR), rng)}
    return template.model_copy(
        update={
            "anchor": template.anchor.model_copy(update=known),
            "temperature_K": ANCHOR,
            "pressures_GPa": places.tolist(),
            "work": template.work.model_copy(update={"curves": curves}),
        }
    )


def sweep(
    phase: str,
    rng: np.random.Generator,
    high: float = HIGH,
    isotherm: PressureSweepDocument | None = None,
    p: float = 0.0,
) -> TemperatureSweepDocument:
    """Return a sweep of the temperature, whose anchor is on a sweep of the pressure if there is one."""
    places = np.geomspace(LOW, high, 25)
    scales = LOW / places
    # The momenta give ½ (3N − 1) k_B T, so that the modes and the strain of the cell give ½ (3N + 1) k_B T.
    exact = (3 * N + 1) / 2 * units.kB * LOW * np.log(scales)
    exact = exact + (ENERGY[phase] + p * units.GPa * VOLUMES[phase]) * (scales - 1)
    curves = packed(phase, places, exact, units.kB * LOW, rng, forces=True)
    template = example(TemperatureSweepDocument)
    known = value(gibbs(phase, ANCHOR), rng)
    if isotherm is not None:
        found = isotherm_of(isotherm, [p])
        known = FreeEnergyValue.of(float(found.gibbs_eV.values[0]), float(found.gibbs_eV.errors[0]), CELL)
    anchor = template.anchor.model_copy(update={"temperature_K": ANCHOR, "pressure_GPa": p, "gibbs": known})
    return template.model_copy(
        update={
            "anchor": anchor,
            "pressure_GPa": p,
            "temperatures_K": np.unique([*np.linspace(LOW, high, 21), ANCHOR]).tolist(),
            "counts": CELL,
            "work": template.work.model_copy(update={"curves": curves}),
        }
    )


def crystal(phase: str, mixing: float = 0.0) -> PhaseComposition:
    return PhaseComposition(phase, "Fe", None, CELL, mixing)


@pytest.fixture(scope="module")
def compared():
    rng = np.random.default_rng(3)
    sweeps = [sweep(phase, rng) for phase in ("cold", "warm")]
    return sweeps, compare_curves([crystal("cold"), crystal("warm")], TEMPERATURES, sweeps)


def test_a_transition_between_two_curves(compared):
    _, document = compared
    (change,) = document.transitions
    assert (change.low_temperature_phase, change.high_temperature_phase) == ("cold", "warm")
    found = {
        "temperature": (change.temperature_K, change.error_K, TRANSITION),
        "ΔS": (change.entropy_eV_per_K_per_atom, change.entropy_error_eV_per_K_per_atom, ENTROPY / N),
        "ΔH": (change.latent_heat_eV_per_atom, change.latent_heat_error_eV_per_atom, TRANSITION * ENTROPY / N),
        "ΔV": (change.volume_change_A3_per_atom, change.volume_change_error_A3_per_atom, VOLUME / N),
        "dT/dp": (change.boundary_K_per_GPa, change.boundary_error_K_per_GPa, VOLUME / ENTROPY * units.GPa),
        "quantum nuclei": (change.quantum_shift_K, change.quantum_shift_error_K, QUANTUM_SHIFT),
    }
    for name, (result, error, exact) in found.items():
        assert 0 < error < 0.2 * abs(exact) and abs(result - exact) < 3 * error, name
    assert change.probability == 1.0
    assert [stable.phase for stable in document.stable] == ["cold", "cold", "warm", "warm"]
    for point in document.points:
        assert abs(point.gibbs_eV - gibbs(point.phase, point.temperature_K)) < 3 * point.error_eV


def test_ideal_mixing_is_part_of_the_entropy_by_which_quantum_nuclei_shift_a_transition(compared):
    sweeps, _ = compared
    mixing = -4e-4
    document = compare_curves([crystal("cold"), crystal("warm", mixing)], TEMPERATURES, sweeps)
    (change,) = document.transitions
    entropy = ENTROPY - mixing
    exact = TRANSITION * ENTROPY / entropy
    assert abs(change.temperature_K - exact) < 3 * change.error_K
    shift = QUANTUM_SHIFT * (ENTROPY / entropy) * (TRANSITION / exact)
    assert abs(change.quantum_shift_K - shift) < 3 * change.quantum_shift_error_K < 0.2 * abs(shift)


def test_the_order_of_phases_does_not_matter(compared):
    (cold, warm), document = compared
    other = compare_curves([crystal("warm"), crystal("cold")], TEMPERATURES, [warm, cold])
    (change,), (same,) = document.transitions, other.transitions
    for name in ("temperature_K", "entropy_eV_per_K_per_atom", "volume_change_A3_per_atom", "boundary_K_per_GPa"):
        assert getattr(same, name) == pytest.approx(getattr(change, name))
    assert same.error_K == pytest.approx(change.error_K, rel=0.1)
    assert same.low_temperature_phase == "cold"


def test_curves_and_single_runs_agree(compared):
    """Runs at five temperatures with the error of the anchor give the same transition, within the errors of both."""
    rng = np.random.default_rng(4)
    template = example(FrenkelLaddDocument)
    temperatures = np.linspace(LOW, HIGH, 5).tolist()
    points = [Point(phase, "Fe", None, t, CELL, 0.0) for phase in ("cold", "warm") for t in temperatures]
    runs = [template.model_copy(update={"gibbs": value(gibbs(p.phase, p.temperature_K), rng)}) for p in points]
    (of_runs,), (of_curves,) = compare(points, runs).transitions, compared[1].transitions
    for name, error in (
        ("temperature_K", "error_K"),
        ("entropy_eV_per_K_per_atom", "entropy_error_eV_per_K_per_atom"),
        ("latent_heat_eV_per_atom", "latent_heat_error_eV_per_atom"),
    ):
        both = np.hypot(getattr(of_runs, error), getattr(of_curves, error))
        assert abs(getattr(of_runs, name) - getattr(of_curves, name)) < 3 * both, name
    assert of_runs.boundary_K_per_GPa is None
    # Values along one curve are correlated: the anchor moves all of them.
    assert of_curves.error_K > 0.5 * np.sqrt(2) * G_ERROR / ENTROPY


def test_a_curve_is_used_up_to_its_end():
    rng = np.random.default_rng(5)
    crystals = [crystal("cold"), crystal("warm")]
    document = compare_curves(crystals, TEMPERATURES, [sweep("cold", rng), sweep("warm", rng, high=520.0)])
    (lost,) = [point for point in document.points if point.failure is not None]
    assert (lost.phase, lost.temperature_K) == ("warm", 600.0) and "520 K" in lost.failure
    assert any("warm Fe at 600 K" in reason for reason in document.verdict.reasons)
    (change,) = document.transitions
    assert abs(change.temperature_K - TRANSITION) < 3 * change.error_K
    short = compare_curves(crystals, TEMPERATURES, [sweep("cold", rng), sweep("warm", rng, high=410.0)])
    (change,) = short.transitions
    assert change.temperature_K is None and change.probability < 0.05
    assert (change.low_temperature_phase, change.high_temperature_phase) == ("cold", "warm")


def test_failed_runs_are_named_and_left_out(compared):
    (cold, _), _ = compared
    document = compare_curves([crystal("cold"), crystal("warm")], TEMPERATURES, [cold, None])
    assert document.transitions == [] and [curve.phase for curve in document.curves] == ["cold"]
    assert all((point.failure is None) == (point.phase == "cold") for point in document.points)
    with pytest.raises(InvalidInputError, match="no run"):
        compare_curves([crystal("cold")], TEMPERATURES, [None])


def test_ideal_mixing_is_part_of_the_curves(compared):
    (cold, _), document = compared
    mixed = compare_curves([crystal("cold", mixing=-1e-3)], TEMPERATURES, [cold])
    for point, pure in zip(mixed.points, document.points[: len(TEMPERATURES)], strict=True):
        assert point.gibbs_eV == pytest.approx(pure.gibbs_eV - 1e-3 * point.temperature_K)
        assert point.ideal_mixing_eV == pytest.approx(-1e-3 * point.temperature_K)
    entropies = [np.array(each.curves[0].entropy_eV_per_K.values) for each in (mixed, document)]
    np.testing.assert_allclose(entropies[0], entropies[1] + 1e-3)


def test_figure_and_tables_of_curves(compared):
    _, document = compared
    axes = plot_phases(document).axes[0]
    change = document.transitions[0]
    assert len(axes.collections) >= 3  # two bands and the bars
    assert any(np.allclose(line.get_xdata(), change.temperature_K) for line in axes.lines)
    text = StringIO()
    show(document, Console(file=text, width=200))
    shown = text.getvalue()
    assert f"{change.temperature_K:.1f} ± {change.error_K:.1f}" in shown and "anchor at 400 K" in shown
    assert f"{change.boundary_K_per_GPa:.1f} ± {change.boundary_error_K_per_GPa:.1f}" in shown
    assert f"{change.quantum_shift_K:.1f} ± {change.quantum_shift_error_K:.1f}" in shown
    assert (
        document.curves[0].quantum.wigner_kirkwood_eV.values[0]
        > document.curves[1].quantum.wigner_kirkwood_eV.values[0]
    )


def bounded(rng: np.random.Generator, *, failed: bool = False):
    """Return the comparison at 0, 1 and 2 GPa; the last sweep of the second phase may have failed."""
    isotherms = {phase: squeezed(phase, rng, 2.0) for phase in ("cold", "warm")}
    curves = {phase: [sweep(phase, rng, HIGH, isotherms[phase], p) for p in (0.0, 1.0, 2.0)] for phase in isotherms}
    if failed:
        curves["warm"][2] = None
    others = [OtherPressures([1.0, 2.0], isotherms[phase], curves[phase][1:]) for phase in isotherms]
    return compare_curves(
        [crystal("cold"), crystal("warm")], TEMPERATURES, [curves[phase][0] for phase in curves], others
    )


def test_a_boundary_over_the_pressure(monkeypatch):
    monkeypatch.setitem(globals(), "G_ERROR", 1e-2)
    slope = VOLUME / ENTROPY * units.GPa
    document = bounded(np.random.default_rng(6))
    (found,) = document.boundaries
    assert found.pressures_GPa == [0.0, 1.0, 2.0] and found.phases == ("cold", "warm")
    for pressure, change in zip(found.pressures_GPa, found.transitions, strict=True):
        assert abs(change.temperature_K - TRANSITION - slope * pressure) < 3 * change.error_K
        assert abs(change.boundary_K_per_GPa - slope) < 3 * change.boundary_error_K_per_GPa
    assert found.transitions[0].temperature_K == pytest.approx(document.transitions[0].temperature_K)
    assert len(found.deviations_K) == 2
    for deviation, error in zip(found.deviations_K, found.deviation_errors_K, strict=True):
        # The anchor moves the transition at all pressures, so its error is not in the deviation.
        assert abs(deviation) < 3 * error and error < found.transitions[0].error_K / 2
    assert not any("boundary" in reason for reason in document.verdict.reasons)
    text = StringIO()
    show(document, Console(file=text, width=200))
    assert f"{found.transitions[2].temperature_K:.1f} ± {found.transitions[2].error_K:.1f}" in text.getvalue()
    assert list(figures_of(document)) == ["phases", "boundary"]
    lines = figures_of(document)["boundary"]().axes[0].lines
    assert len([line for line in lines if len(line.get_xdata()) == 2]) == 3


def test_a_failed_sweep_at_a_pressure_is_named():
    document = bounded(np.random.default_rng(7), failed=True)
    (found,) = document.boundaries
    assert found.pressures_GPa == [0.0, 1.0]
    assert any(reason.startswith("warm Fe at 2 GPa: ") for reason in document.verdict.reasons)


def test_slopes_that_do_not_fit_the_boundary_are_a_reason():
    """Volumes that differ from those in the works give another dT/dp."""
    rng = np.random.default_rng(8)
    isotherms = {phase: squeezed(phase, rng, 1.0) for phase in ("cold", "warm")}
    others, first = [], []
    for phase, isotherm in isotherms.items():
        curves = [sweep(phase, rng, HIGH, isotherm, p) for p in (0.0, 1.0)]
        stored = [each.work.curves.arrays() for each in curves]
        for each, arrays in zip(curves, stored, strict=True):
            for name in ("forward_volumes_A3", "backward_volumes_A3"):
                arrays[name] = arrays[name] + (8 * VOLUME if phase == "warm" else 0.0)
            each.work.curves = PackedArrays(npz_base64=PackedArrays.encode(**arrays))
        first.append(curves[0])
        others.append(OtherPressures([1.0], isotherm, curves[1:]))
    document = compare_curves([crystal("cold"), crystal("warm")], TEMPERATURES, first, others)
    (reason,) = [each for each in document.verdict.reasons if each.startswith("boundary between cold and warm")]
    assert "from 0 to 1 GPa" in reason


@pytest.mark.slow
def test_a_liquid_melts_where_its_curve_crosses_that_of_the_solid():
    """The finite-size term of the solid, −½ k_B T ln N / N, is removed; it changes ΔS, but not ΔH."""
    entropy = ENTROPY + 0.5 * units.kB * np.log(N)
    exact = TRANSITION * ENTROPY / entropy
    shift = QUANTUM_SHIFT * (ENTROPY / entropy) * (TRANSITION / exact)
    rng = np.random.default_rng(3)
    found = [melting_document(sweep("cold", rng), sweep("warm", rng), []) for _ in range(60)]
    z = {
        "melting": [(each.melting_K - exact) / each.melting_error_K for each in found],
        "heat": [
            (each.latent_heat_eV_per_atom - ENERGY["warm"] / N) / each.latent_heat_error_eV_per_atom for each in found
        ],
        "volume": [
            (each.volume_change_A3_per_atom - VOLUME / N) / each.volume_change_error_A3_per_atom for each in found
        ],
        "slope": [
            (each.boundary_K_per_GPa - VOLUME / entropy * units.GPa) / each.boundary_error_K_per_GPa for each in found
        ],
        "quantum nuclei": [(each.quantum_shift_K - shift) / each.quantum_shift_error_K for each in found],
    }
    for name, values in z.items():
        assert 0.55 <= np.mean(np.abs(values) < 1) <= 0.85, name
        assert np.mean(np.abs(values) < 2) >= 0.88, name
    assert abs(exact - TRANSITION) > 3 * np.mean([each.melting_error_K for each in found]) / np.sqrt(len(found))


def test_curves_of_a_solid_and_a_liquid_that_do_not_cross():
    rng = np.random.default_rng(0)
    cold, warm = sweep("cold", rng), sweep("warm", rng)
    reversed_ = melting_document(warm, cold, [])  # the solid would melt on cooling
    assert reversed_.melting_K is None and reversed_.latent_heat_eV_per_atom is None
    assert "do not cross" in reversed_.verdict.reasons[0]
    assert reversed_.quantum_shift_K is None
    short = melting_document(sweep("cold", rng, high=410.0), warm, ["solid: lost"])
    assert short.melting_K is None and short.range_K == (300.0, 410.0)
    assert short.verdict.reasons[0] == "solid: lost" and "where the solid is stable" in short.verdict.reasons[1]
    with pytest.raises(InvalidInputError, match="in common"):
        melting_document(cold, warm.model_copy(update={"temperatures_K": [700.0, 800.0]}), [])
