"""The job with solid and liquid in contact, and the melting point that contains its result."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pytest
from jobflow import JobStore, run_locally
from liquids import lennard_jones
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure
from rich.console import Console
from stored import DOCUMENTS, read_example

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.analysis.coexistence import (
    coexistence_document,
    configurational_enthalpy_eV_per_atom,
    temperatures_around,
)
from alchemflows.cli.shown import show
from alchemflows.errors import AlchemflowsError
from alchemflows.jobs.coexistence import CoexistenceMaker
from alchemflows.jobs.cost import cost_of
from alchemflows.jobs.melting import MeltingPointAnalysisMaker
from alchemflows.plotting import figures_of
from alchemflows.sampling.coexistence import two_phase_cell
from alchemflows.schemas.document import decoded
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.reasons import Reason

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
DEMO = PotentialSpec(name="mace-demo", device="cpu")


@pytest.fixture(scope="module")
def melting():
    """Return a stored melting point of NaCl with its arrays."""
    example = read_example(DOCUMENTS / "MeltingDocument-1-quantum.json")
    store = new_store()
    store.docs_store.update(example["outputs"], key=["uuid", "index"])
    store.additional_stores["data"].update(example["samples"], key="blob_uuid")
    return decoded(store.get_output(example["outputs"][-1]["uuid"], load=True))


def new_store():
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore(key="blob_uuid")})
    store.connect()
    return store


@pytest.fixture(scope="module")
def contact(melting, tmp_path_factory):
    """Return the result of a short run with the Lennard-Jones potential, which has no charges."""
    system, _ = AlchemicalSystem.from_structure(two_phase_cell(SALT, 8).structure)
    maker = CoexistenceMaker(
        potential=DEMO,
        dynamics=DynamicsSettings(
            temperature_K=300.0,
            pressure_GPa=0.0,
            cell_freedom="axes",
            timestep_fs=2.0,
            n_equilibration_steps=10,
            n_production_steps=60,
        ),
        n_temperatures=2,
        n_replicas=2,
        n_repeats=8,
        heating_temperature_K=2000.0,
        n_heating_steps=20,
    )

    def model(*_, **__):
        found = lennard_jones(0.1, 2.7, 2.0)
        found.record = load_potential(DEMO).record
        return found

    job = maker.make(system, SALT, melting.solid, melting.liquid)
    assert cost_of(job).n_replicas == 4 and cost_of(job).n_steps == 4 * 90
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("alchemflows.alchemy.potential.AlchemicalPotential", model)
        found = run_locally(
            job,
            store=new_store(),
            create_folders=True,
            root_dir=tmp_path_factory.mktemp("contact"),
            ensure_success=True,
            log=False,
        )
    return found[job.uuid][1].output


def test_a_run_in_contact_has_both_phases_at_each_temperature(melting, contact):
    assert contact.counts.atoms == 64 and contact.n_layers > 10 and contact.crossing_K == melting.melting_K
    temperatures = temperatures_around(melting, 0.1, 2)
    assert [point.temperature_K for point in contact.points] == pytest.approx(temperatures.tolist())
    assert temperatures.tolist() == pytest.approx([0.9 * melting.melting_K, 1.1 * melting.melting_K])
    for k, point in enumerate(contact.points):
        assert [len(row) for row in point.solid_fractions] == [6, 6] == 2 * [len(contact.times_ps)]
        solid, liquid = (
            configurational_enthalpy_eV_per_atom(each, temperatures)[k] for each in (melting.solid, melting.liquid)
        )
        assert (point.solid_eV_per_atom, point.liquid_eV_per_atom) == pytest.approx((solid, liquid))
    assert contact.times_ps == pytest.approx([0.01 + 0.02 * k for k in range(6)], abs=0.011)
    assert contact.heated.time_ps < 1 and contact.dynamics.temperature_K == contact.points[0].temperature_K


def test_temperatures_stay_in_the_range_of_the_curves(melting):
    low, high = melting.range_K
    assert temperatures_around(melting, 0.99, 3)[[0, -1]].tolist() == [
        max(low, 0.01 * melting.melting_K), min(high, 1.99 * melting.melting_K)
    ]  # fmt: skip
    without = melting.model_copy(update={"melting_K": None})
    assert temperatures_around(without, 0.1, 3).tolist() == [low, (low + high) / 2, high]


def test_a_melting_point_contains_the_growth(melting, contact):
    known = contact.model_copy(
        update={"melting_K": 700.0, "melting_error_K": 20.0, "deviation_sigma": 4.0, "verdict": melting.verdict}
    )
    maker = MeltingPointAnalysisMaker(checks_coexistence=True)
    document = maker.make.original(maker, melting.solid, melting.liquid, known)
    assert (document.coexistence_K, document.coexistence_error_K) == (700.0, 20.0)
    assert document.melting_K == melting.melting_K and document.coexistence == known
    assert {f"coexistence: {reason}" for reason in melting.verdict.reasons} <= set(document.verdict.reasons)
    text = StringIO()
    show(document, Console(file=text, width=200))
    assert "melting point by coexistence" in text.getvalue() and "4.0 σ" in text.getvalue()
    (drawn,) = figures_of(document).values()
    assert len(drawn().axes) == 4


def test_a_run_in_contact_that_failed_is_named(melting):
    maker = MeltingPointAnalysisMaker(checks_coexistence=True)
    document = maker.make.original(maker, melting.solid, melting.liquid, None)
    assert Reason.COEXISTENCE_FAILED.because() in document.verdict.reasons and document.coexistence is None
    with pytest.raises(AlchemflowsError, match="curve"):
        maker.make.original(maker, None, melting.liquid, None)


def synthetic(melting, contact, rates_per_ps):
    """Return the document of runs in which the share of the solid changes at a rate from one half, with noise."""
    temperatures = temperatures_around(melting, 0.1, len(rates_per_ps))
    rng = np.random.default_rng(0)
    solid, liquid = (
        configurational_enthalpy_eV_per_atom(each, temperatures) for each in (melting.solid, melting.liquid)
    )
    shares = 0.5 + np.outer(np.arange(400) * 0.02, rates_per_ps) + 0.005 * rng.normal(size=(400, len(rates_per_ps)))
    names = (
        *("counts", "length_A", "n_layers", "heating_temperature_K", "n_heating_steps", "heated", "dynamics"),
        "provenance",
    )
    return coexistence_document(
        melting,
        temperatures,
        64 * (liquid - shares * (liquid - solid)),
        0.02,
        **{name: getattr(contact, name) for name in names},
    )


def keys_of(document):
    return {Reason.of(reason).key for reason in document.verdict.reasons}


def test_which_phase_grows_and_whether_it_agrees_with_the_crossing(melting, contact):
    crossing = melting.model_copy(update={"melting_error_K": 2.0})
    t = temperatures_around(melting, 0.1, 5)
    found = synthetic(crossing, contact, [0.03, 0.015, 0.0, -0.015, -0.03])
    assert [point.grows for point in found.points] == ["solid", "solid", "undecided", "liquid", "liquid"]
    assert (found.solid_grows_to_K, found.liquid_grows_from_K) == (t[1], t[3]) and found.verdict.converged
    assert found.melting_K == pytest.approx(t[2], abs=3 * found.melting_error_K)
    assert abs(found.deviation_sigma) < 3 and [point.n_measured for point in found.points] == [[20]] * 5
    assert [point.rate_per_ps for point in found.points] == pytest.approx([0.03, 0.015, 0.0, -0.015, -0.03], abs=2e-3)
    assert keys_of(synthetic(crossing, contact, [0.03, 0.02, 0.01, 0.005, -0.005])) == {"coexistence-deviates"}
    assert keys_of(synthetic(crossing, contact, [0.03, 0.02, 0.015, 0.01, 0.005])) == {"coexistence-open"}
    assert "coexistence-order" in keys_of(synthetic(crossing, contact, [-0.03, 0.03, 0.0, -0.03, -0.03]))
