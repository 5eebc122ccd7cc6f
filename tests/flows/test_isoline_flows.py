"""Flows over temperature and pressure with mace-demo: short runs, stored anchors, lost crystals, refused input."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from types import SimpleNamespace

import numpy as np
import pytest
from ase import units
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure
from rich.console import Console

from alchemflows.analysis.isolines import quantum_corrections
from alchemflows.cli.shown import show
from alchemflows.errors import InvalidInputError, TrajectoryError, UnstableCrystalError
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.isolines import PressureSweepMaker, TemperatureSweepMaker
from alchemflows.plotting import figures_of
from alchemflows.schemas.potential import PotentialSpec

DEMO = PotentialSpec(name="mace-demo", device="cpu")
ABSOLUTE = FrenkelLaddMaker(
    potential=DEMO,
    temperature=300.0,
    timestep_fs=4.0,
    n_repeats=2,
    n_cell_steps=60,
    n_equilibration_steps=10,
    n_sampling_steps=40,
    n_switching_steps=20,
    relax_maker=None,
)
LENGTHS = {"n_repeats": 2, "n_equilibration_steps": 10, "n_switching_steps": 40, "n_points": 3}
SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def memory() -> JobStore:
    return JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})


def run(flow, tmp_path):
    outputs = run_locally(flow, store=memory(), create_folders=True, root_dir=tmp_path, ensure_success=True, log=False)
    return [outputs[each.uuid][1].output for each, _ in flow.iterflow()]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    maker = TemperatureSweepMaker(frenkel_ladd_maker=replace(ABSOLUTE, quantum=True), **LENGTHS)
    *_, anchor, document = run(maker.make(SALT, 200.0, 500.0), tmp_path_factory.mktemp("sweep"))
    return anchor, document


def test_a_temperature_sweep_starts_from_its_anchor(swept):
    anchor, document = swept
    assert document.temperatures_K == [200.0, 300.0, 350.0, 500.0] and document.requested_K == (200.0, 500.0)
    assert document.gibbs_eV.values[1] == pytest.approx(anchor.gibbs.value_eV)
    assert document.gibbs_eV.errors[1] == pytest.approx(anchor.gibbs.error_eV)
    assert document.n_attempts == 1 and document.anchor.gibbs == anchor.gibbs
    g, s, h = (np.array(getattr(document, n).values) for n in ("gibbs_eV", "entropy_eV_per_K", "enthalpy_eV"))
    np.testing.assert_allclose(g, h - np.array(document.temperatures_K) * s)
    # Nearly 3 k_B for each atom; the derivative of a short run is noisy.
    assert (np.diff(g) < 0).all() and 3 < s[0] / 8 / units.kB < s[-1] / 8 / units.kB < 10
    assert any(reason.startswith("anchor: ") for reason in document.verdict.reasons)
    curves = document.work.curves.arrays()
    assert curves["forward_eV"].shape == (2, 41) and curves["places"][[0, -1]].tolist() == pytest.approx([200, 500])
    assert curves["backward_volumes_A3"].shape == (2, 40)


def test_quantum_corrections_along_a_sweep(swept):
    anchor, document = swept
    quantum, kT = document.quantum, units.kB * np.array(document.temperatures_K)
    assert len(anchor.mode_energies_eV) == 3 * 8 - 3
    assert quantum.harmonic_eV[1] == pytest.approx(anchor.quantum_correction_eV)
    squares = np.array(anchor.mode_energies_eV) ** 2
    term = squares.sum() / (24 * kT)
    np.testing.assert_allclose(quantum.wigner_kirkwood_eV.values, term, rtol=0.5)
    assert (np.array(quantum.wigner_kirkwood_eV.errors) > 0).all()
    np.testing.assert_allclose(quantum.next_terms, (squares**2).sum() / (120 * kT**2 * squares.sum()))
    assert quantum.holds_from_K == 200.0
    arrays = document.work.curves.arrays()
    assert arrays["forward_force_squares"].shape == (2, 40, 2) and arrays["kind_counts"].tolist() == [4, 4]
    again = quantum_corrections(arrays, document.anchor.mode_energies_eV, [300.0])
    assert again.wigner_kirkwood_eV.values == pytest.approx([quantum.wigner_kirkwood_eV.values[1]])
    assert quantum_corrections({"places": arrays["places"]}, None, [300.0]) is None


@pytest.mark.parametrize(("holds_from_K", "warning"), [(200.0, ""), (350.0, "below 350 K"), (None, "all temperatures")])
def test_quantum_corrections_are_shown_beside_the_curve(swept, holds_from_K, warning):
    _, document = swept
    quantum = document.quantum.model_copy(update={"holds_from_K": holds_from_K})
    changed, text = document.model_copy(update={"quantum": quantum}), StringIO()
    show(changed, Console(file=text, width=200))
    harmonic = f"{1e3 * quantum.harmonic_eV[1] / 8:.4f}"
    assert harmonic in text.getvalue() and "not in G" in text.getvalue()
    assert ("warning" in text.getvalue()) == bool(warning) and warning in text.getvalue()
    axes = figures_of(changed)["curve"]().axes[-1]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), 1e3 * np.array(quantum.wigner_kirkwood_eV.values) / 8)
    assert any(line.get_linestyle() == "--" for line in axes.lines)


def test_a_pressure_sweep_from_a_stored_anchor(swept, tmp_path):
    anchor, _ = swept
    maker = PressureSweepMaker(frenkel_ladd_maker=ABSOLUTE, **LENGTHS)
    flow = maker.from_anchor(anchor, SALT, 0.0, 0.6)
    assert [job.name for job in flow.jobs] == ["pressure sweep"]
    (document,) = run(flow, tmp_path)
    assert document.pressures_GPa[0] == 0.0 and document.pressures_GPa[-1] == pytest.approx(0.6)
    g, v = np.array(document.gibbs_eV.values), np.array(document.volumes_A3.values)
    at = document.pressures_GPa.index(anchor.pressure_GPa)
    assert g[at] == pytest.approx(anchor.gibbs.value_eV)
    assert g[-1] - g[0] == pytest.approx(0.6 * units.GPa * v.mean(), rel=0.1)
    quantum = document.quantum
    term = (np.array(anchor.mode_energies_eV) ** 2).sum() / (24 * units.kB * 300.0)
    np.testing.assert_allclose(quantum.wigner_kirkwood_eV.values, term, rtol=0.5)
    assert quantum.holds_to_GPa == document.pressures_GPa[-1] and max(quantum.next_terms) < 0.1
    # The harmonic correction grows as the crystal becomes smaller, and passes through that of the anchor.
    expected = np.interp(anchor.volume_A3, v[::-1], quantum.harmonic_eV[::-1])
    assert anchor.quantum_correction_eV == pytest.approx(expected, rel=1e-3)
    assert 1.001 < quantum.harmonic_eV[-1] / quantum.harmonic_eV[0] < 1.1
    for holds, warning, grey in (
        (0.0, "above 0 GPa", (0.0, 0.6)),
        (None, "all pressures", (0.0, 0.6)),
        (0.6, "", None),
    ):
        changed = document.model_copy(update={"quantum": quantum.model_copy(update={"holds_to_GPa": holds})})
        text = StringIO()
        show(changed, Console(file=text, width=200))
        shown = text.getvalue()
        assert f"{1e3 * quantum.wigner_kirkwood_eV.values[0] / 8:.4f}" in shown and "not in G" in shown
        assert f"{1e3 * quantum.harmonic_eV[0] / 8:.4f}" in shown
        assert ("warning" in shown) == bool(warning) and warning in shown
        axes = figures_of(changed)["curve"]().axes[-1]
        np.testing.assert_allclose(axes.lines[0].get_ydata(), 1e3 * np.array(quantum.wigner_kirkwood_eV.values) / 8)
        np.testing.assert_allclose(axes.lines[-1].get_ydata(), 1e3 * np.array(quantum.harmonic_eV) / 8)
        behind = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches]
        assert behind == ([] if grey is None else [pytest.approx(grey)])


def test_constant_volume_gives_the_helmholtz_energy(swept, tmp_path):
    anchor, _ = swept
    maker = TemperatureSweepMaker(frenkel_ladd_maker=replace(ABSOLUTE, pressure_GPa=None), **LENGTHS)
    (document,) = run(maker.from_anchor(anchor, SALT, 250.0, 400.0), tmp_path)
    assert document.pressure_GPa is None
    assert document.gibbs_eV.values[1] == pytest.approx(anchor.helmholtz.value_eV)
    assert np.ptp(document.volumes_A3.values) < 1e-6


def test_a_crystal_that_is_lost_ends_the_curve(swept, tmp_path, monkeypatch):
    """The first sweep reports a loss at λ = ½; the second, up to a lower temperature, does not."""
    from alchemflows.sampling import scaling

    anchor, _ = swept
    plain, seen = scaling.sweep, []

    def lossy(model, path, *args, **kwargs):
        seen.append(path)
        return replace(plain(model, path, *args, **kwargs), lost_on_the_way_up=0.5 if len(seen) == 1 else None)

    monkeypatch.setattr(scaling, "sweep", lossy)
    maker = TemperatureSweepMaker(frenkel_ladd_maker=ABSOLUTE, **LENGTHS)
    (document,) = run(maker.from_anchor(anchor, SALT, 200.0, 1000.0), tmp_path)
    lost = 200 / (1 + 0.5 * (200 / 1000 - 1))
    assert document.temperatures_K[-1] == pytest.approx(300 + 0.9 * (lost - 300))
    assert document.requested_K == (200.0, 1000.0) and document.n_attempts == 2
    (reason,) = [each for each in document.verdict.reasons if "the curve ends" in each]
    assert "333.3 K" in reason and "330 K" in reason
    monkeypatch.setattr(scaling, "sweep", lambda *a, **k: replace(plain(*a, **k), lost_on_the_way_up=0.1))
    flow = maker.from_anchor(anchor, SALT, 200.0, 1000.0)
    with pytest.raises(UnstableCrystalError, match="300 K"):
        run_locally(flow, create_folders=True, root_dir=tmp_path, raise_immediately=True, log=False, store=memory())


def test_a_range_beyond_where_the_potential_is_stable_is_named(swept, tmp_path, monkeypatch):
    """The dynamics stop with the error that they give for this cell at 20,000 K."""
    from alchemflows.sampling import scaling

    def exploding(*args, **kwargs):
        raise TrajectoryError("replica 3 lost its volume at step 214: it is 1.5 times the initial one")

    monkeypatch.setattr(scaling, "sweep", exploding)
    flow = TemperatureSweepMaker(frenkel_ladd_maker=ABSOLUTE, **LENGTHS).from_anchor(swept[0], SALT, 200.0, 20000.0)
    with pytest.raises(TrajectoryError, match=r"200 to 20000 K, replica 3 .* smaller range"):
        run_locally(flow, create_folders=True, root_dir=tmp_path, raise_immediately=True, log=False, store=memory())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"pressure_GPa": 1.0}, "pressure is 1 GPa"),
        ({"formula": "KCl"}, "it is KCl"),
        ({"counts": SimpleNamespace(atoms=64, title="64 atoms")}, "64 atoms"),
        ({"provenance": SimpleNamespace(potential=SimpleNamespace(name="other", sha256="5" * 64, head=None))}, "other"),
        ({"temperature_K": 150.0}, "150 K, is not in the range"),
    ],
)
def test_an_anchor_of_something_else_is_refused(swept, change, named):
    anchor, _ = swept
    maker = TemperatureSweepMaker(frenkel_ladd_maker=ABSOLUTE, **LENGTHS)
    with pytest.raises(InvalidInputError, match=named):
        maker.from_anchor(anchor.model_copy(update=change), SALT, 200.0, 500.0)


def test_an_anchor_at_another_temperature_is_refused(swept):
    anchor, _ = swept
    maker = PressureSweepMaker(frenkel_ladd_maker=replace(ABSOLUTE, temperature=400.0), **LENGTHS)
    with pytest.raises(InvalidInputError, match="temperature is 300 K"):
        maker.from_anchor(anchor, SALT, 0.0, 1.0)


def test_invalid_ranges_and_numbers_are_refused():
    warm, squeezed = (kind(frenkel_ladd_maker=ABSOLUTE) for kind in (TemperatureSweepMaker, PressureSweepMaker))
    for low, high, named in (
        (400.0, 600.0, "300 K"),
        (100.0, 200.0, "300 K"),
        (500.0, 200.0, "low_K"),
        (0.0, 400.0, "low_K"),
    ):
        with pytest.raises(InvalidInputError, match=named):
            warm.make(SALT, low, high)
    for low, high, named in ((1.0, 2.0, "0.000101325 GPa"), (2.0, 1.0, "low_GPa")):
        with pytest.raises(InvalidInputError, match=named):
            squeezed.make(SALT, low, high)
    with pytest.raises(InvalidInputError, match="pressure_GPa"):
        PressureSweepMaker(frenkel_ladd_maker=replace(ABSOLUTE, pressure_GPa=None)).make(SALT, 0.0, 1.0)
    with pytest.raises(InvalidInputError, match="n_points"):
        replace(warm, n_points=2).make(SALT, 200.0, 400.0)
    with pytest.raises(InvalidInputError, match="n_repeats"):
        replace(warm, n_repeats=1).make(SALT, 200.0, 400.0)
    vacant = SALT.copy()
    vacant.replace(0, {"Na": 0.9})
    with pytest.raises(InvalidInputError, match="vacant"):
        warm.make(vacant, 200.0, 400.0)
