"""Write an example of each kind of stored document, and a queued workflow: ``python tests/data/make_documents.py``.

They are what today's release stores, from short runs with mace-demo. Each file has the version of its document in its
name; files of earlier versions stay, since every release must read them. Run this after a new kind of document or a
new step of migration, and commit the files of that kind alone.

A file that was written before a field was added proves that documents without the field are read, so it stays too.
Further examples, with such fields, have a word after their version. ``python tests/data/make_documents.py frames``
writes those with the word `frames`.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from bson import json_util
from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

sys.path.insert(0, str(Path(__file__).parents[1]))

from calculators import SpringsMaker
from models import VARIANTS, build_mace
from stored import DOCUMENTS, MODEL, PLACEHOLDER, WORKFLOW, kinds_within

from alchemflows.alchemy.backends.mace_file import save_mace
from alchemflows.alchemy.compositions import CompositionGrid
from alchemflows.analysis.combination import combined
from alchemflows.analysis.stored_ladders import StoredLadder
from alchemflows.campaign.specification import campaign_of, tasks
from alchemflows.campaign.submission import _workflow
from alchemflows.flows.committee import CommitteeMaker
from alchemflows.flows.composition_optimization import CompositionOptimizationMaker
from alchemflows.flows.composition_sweep import CompositionSweepMaker
from alchemflows.flows.correction import CorrectionMaker
from alchemflows.flows.defect_pairs import FrenkelPairMaker, SchottkyMaker
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.isolines import PressureSweepMaker, TemperatureSweepMaker
from alchemflows.flows.liquid import LiquidFreeEnergyMaker
from alchemflows.flows.melting import MeltingPointMaker
from alchemflows.flows.mixing import MixingMaker
from alchemflows.flows.mixing_committee import MixingCommitteeMaker
from alchemflows.flows.monte_carlo import MonteCarloMaker
from alchemflows.flows.order_disorder import OrderDisorderMaker
from alchemflows.flows.ordering_search import OrderingSearchMaker
from alchemflows.flows.phase_stability import PhaseStabilityMaker
from alchemflows.flows.reanalysis import ReanalysisMaker
from alchemflows.flows.state_committee import StateCommitteeMaker
from alchemflows.flows.state_correction import StateCorrectionMaker
from alchemflows.flows.switching import SwitchingMaker
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.flows.transition import OrderDisorderTransitionMaker
from alchemflows.flows.transition_committee import TransitionCommitteeMaker
from alchemflows.flows.vacancy import VacancyFreeEnergyMaker, VacancyTemperatureMaker
from alchemflows.jobs.optimize import OptimizeMaker
from alchemflows.jobs.ordering import SearchMaker
from alchemflows.jobs.relax import relaxing
from alchemflows.reproduce.fig5 import Fig5ComparisonMaker
from alchemflows.results.combination import as_output
from alchemflows.schemas.correction import CalculatorSpec, TargetRunSettings
from alchemflows.schemas.document import current_version, decoded
from alchemflows.schemas.optimization import Target
from alchemflows.schemas.potential import PotentialSpec

DEMO = PotentialSpec(name="mace-demo", device="cpu")
SWITCHES: dict[str, Any] = {"n_repeats": 2, "n_equilibration_steps": 20, "n_switching_steps": 40}
ABSOLUTE: dict[str, Any] = SWITCHES | {"n_cell_steps": 60, "n_sampling_steps": 40}
#: Temperatures (K) between which NaCl melts in the short runs of the further examples.
MELTING_RANGE_K = [300.0, 1500.0]
#: Arguments of the vacancy of a campaign.
VACANCY = {"site": 1, "chemical_potentials": {"values_eV": {"Na": -1.3}}}
#: Settings of each method of a campaign.
METHODS: dict[str, dict[str, Any]] = {
    "thermodynamic-integration": {
        "n_windows": 3,
        "windows_per_job": 3,
        "n_equilibration_steps": 20,
        "n_production_steps": 100,
    },
    "switching": SWITCHES | {"relax": False},
    "frenkel-ladd": ABSOLUTE | {"relax": False},
    "vacancy": {"frenkel_ladd_maker": ABSOLUTE | {"relax": False}},
}


def salt(**others: float) -> Structure:
    """Return NaCl, other elements on the sites of Na if they are given with their occupancies."""
    cation = {"Na": 1 - sum(others.values()), **others}
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.69), [cation, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def iron(a: float = 2.84) -> Structure:
    """Return bcc iron."""
    return Structure(Lattice.cubic(a), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def campaign(kind: str, structure: Structure, change: dict[str, str], potential: PotentialSpec, **settings: Any) -> Any:
    """Return a campaign of one task."""
    content: dict[str, Any] = {
        "name": "examples",
        "structures": {structure.composition.reduced_formula: {"structure": structure.as_dict()}},
        "temperatures_K": [200.0],
        "pressures_GPa": [None if kind == "thermodynamic-integration" else 1e-4],
        "method": {"kind": kind, "settings": settings, "arguments": VACANCY if kind == "vacancy" else {}},
        "potential": potential.model_dump(),
    }
    return campaign_of(content | ({"transformations": {"".join(change.values()): change}} if change else {}))


def flows() -> Iterator[Flow]:
    """Yield flows whose jobs return every kind of document."""
    for kind, settings in METHODS.items():
        change = {"Na": "K"} if kind in ("thermodynamic-integration", "switching") else {}
        yield from (task.flow() for task in tasks(campaign(kind, salt(), change, DEMO, **settings)))
    absolute = FrenkelLaddMaker(potential=DEMO, temperature=50.0, timestep_fs=4.0, relax_maker=None, **ABSOLUTE)
    vacancy = VacancyFreeEnergyMaker(frenkel_ladd_maker=absolute)
    yield absolute.make(iron(), supercells=[(2, 2, 2), (2, 2, 3)])
    yield vacancy.make(iron(), 1, supercells=[(2, 2, 1), (2, 2, 2)])
    temperatures = VacancyTemperatureMaker(vacancy_maker=vacancy).make(iron() * (2, 2, 2), [50.0, 100.0])
    figure = Fig5ComparisonMaker().make([flow.output for flow in temperatures.jobs if isinstance(flow, Flow)], "small")
    yield Flow([temperatures, figure], output=figure.output)
    yield corrected_ladder()
    yield corrected_crystal()
    yield state_committee()
    yield committee()
    yield reanalysis()
    yield SchottkyMaker(frenkel_ladd_maker=absolute).make(salt())
    yield FrenkelPairMaker(frenkel_ladd_maker=absolute).make(salt(), 0, [0.25, 0.25, 0.25])
    phases = {"small": iron() * (2, 2, 2), "large": iron(2.9) * (2, 2, 2)}
    yield PhaseStabilityMaker(frenkel_ladd_maker=absolute).make(phases, [50.0, 100.0])
    sweep: dict[str, Any] = {"n_repeats": 2, "n_equilibration_steps": 20, "n_switching_steps": 40, "n_points": 3}
    yield TemperatureSweepMaker(frenkel_ladd_maker=absolute, **sweep).make(iron() * (2, 2, 2), 40.0, 80.0)
    yield PressureSweepMaker(frenkel_ladd_maker=absolute, **sweep).make(iron() * (2, 2, 2), 0.0, 0.5)
    liquid = LiquidFreeEnergyMaker(
        potential=DEMO, temperature=1500.0, n_repeats=2, n_heating_steps=20, n_cell_steps=60, n_equilibration_steps=40,
        n_switching_steps=40,
    )  # fmt: skip
    yield liquid.make(salt())
    contact: dict[str, Any] = {"n_coexistence_temperatures": 2, "n_coexistence_repeats": 6, "n_coexistence_steps": 60}
    yield MeltingPointMaker(frenkel_ladd_maker=absolute, n_heating_steps=20, **contact, **sweep).make(
        iron() * (2, 2, 2), [40.0, 80.0]
    )
    quick = relaxing(0.2)
    grid = CompositionGrid.line(salt(), {"Na": "K"}, [0.0, 0.5, 1.0])
    yield CompositionSweepMaker(potential=DEMO, relax_maker=quick, both_starts=False).make(grid)
    search = SearchMaker(n_starts=2, n_steps=5, n_relaxed=1)
    yield OrderingSearchMaker(potential=DEMO, search_maker=search, relax_maker=quick).make(salt(K=0.5))
    yield order_and_disorder()
    chains = MonteCarloMaker(
        potential=DEMO, n_replicas=2, n_equilibration_sweeps=5, n_production_sweeps=20, relax_maker=None
    )
    yield chains.make(salt(K=0.5), (2, 1, 1), [600.0, 900.0], waves=[(1, 0, 0)])
    transition = OrderDisorderTransitionMaker(
        potential=DEMO, n_replicas=2, n_equilibration_sweeps=5, n_production_sweeps=20, relax_maker=None
    )
    yield transition_committee(transition)
    mixing = MixingMaker(
        potential=DEMO, n_potentials=5, n_equilibration_sweeps=5, n_production_sweeps=40, relax_maker=None
    )
    yield mixing.make(salt(), {"Na": ["Na", "K"]}, (1, 1, 1), [600.0, 900.0])
    yield mixing_committee(mixing)
    optimize = CompositionOptimizationMaker(
        potential=DEMO, optimize_maker=OptimizeMaker(relaxation="isotropic", max_steps=2)
    )
    yield optimize.make(salt(), {"Na": ["Na", "K"]}, [Target(quantity="a_A", value=5.9)])


def order_and_disorder() -> Flow:
    """Return the comparison of ordered and disordered (Na,K)Cl, also with arrangements that are sampled."""
    order = OrderDisorderMaker(
        potential=DEMO, n_random=2, quasirandom=False, relax_maker=relaxing(0.2), sampled_temperature_K=600.0,
        n_sampled=2, n_sampling_sweeps=8,
    )  # fmt: skip
    return order.make(salt(K=0.5), (1, 1, 1), "distinct")


def corrected_ladder() -> Flow:
    """Return a ladder, and its correction from float32 to float64 of the same potential."""
    maker = ThermodynamicIntegrationMaker(
        potential=DEMO, temperature=200.0, relax_maker=None, **METHODS["thermodynamic-integration"]
    )
    ladder = maker.make(salt(), {"Na": "K"})
    target = PotentialSpec(name="mace-demo", device="cpu", dtype="float64")
    correction = CorrectionMaker(target=target).make(ladder.jobs[-1].uuid)
    return Flow([ladder, correction], output=correction.output, order="linear", name="correction")


def corrected_crystal() -> Flow:
    """Return the absolute free energy of a crystal, and its correction from float32 to float64."""
    absolute = FrenkelLaddMaker(potential=DEMO, temperature=200.0, relax_maker=None, **ABSOLUTE).make(salt())
    target = PotentialSpec(name="mace-demo", device="cpu", dtype="float64")
    correction = StateCorrectionMaker(target=target).make(absolute.output.uuid)
    return Flow([absolute, correction], output=correction.output, order="linear", name="correction of a state")


def state_committee() -> Flow:
    """Return a melting point, and a committee of the sampled potential and the same one with weak springs."""
    absolute = FrenkelLaddMaker(potential=DEMO, timestep_fs=4.0, relax_maker=None, n_frames=8, **ABSOLUTE)
    melting = MeltingPointMaker(
        frenkel_ladd_maker=absolute, n_heating_steps=20, n_points=3, **SWITCHES
    ).make(salt(), MELTING_RANGE_K)  # fmt: skip
    springs = CalculatorSpec(path="calculators:Shifted", arguments={"stiffness_eV_per_A2": 1e-4})
    compared = StateCommitteeMaker(members=[springs]).make(melting.output.uuid)
    return Flow([melting, compared], output=compared.output, order="linear", name="state committee")


def committee() -> Flow:
    """Return a ladder, and a committee of the sampled potential and the same one with pairs of springs."""
    maker = ThermodynamicIntegrationMaker(
        potential=DEMO, temperature=200.0, relax_maker=None, **METHODS["thermodynamic-integration"]
    )
    ladder = maker.make(salt(), {"Na": "K"})
    springs = CalculatorSpec(path="calculators:Springs", arguments={"stiffness_eV_per_A2": 1e-4})
    compared = CommitteeMaker(members=[springs, springs.model_copy(update={"arguments": {}})], forces=True).make(
        ladder.jobs[-1].uuid
    )
    return Flow([ladder, compared], output=compared.output, order="linear", name="committee")


def mixing_committee(maker: MixingMaker) -> Flow:
    """Return a free energy of mixing, and a committee of the sampled potential and pairs of springs."""
    mixing = maker.make(salt(), {"Na": ["Na", "K"]}, (1, 1, 1), [600.0])
    springs = CalculatorSpec(path="calculators:Springs", arguments={"stiffness_eV_per_A2": 1e-4})
    compared = MixingCommitteeMaker(members=[springs]).make(mixing.output.uuid)
    return Flow([mixing, compared], output=compared.output, order="linear", name="mixing committee")


def transition_committee(maker: OrderDisorderTransitionMaker) -> Flow:
    """Return a transition, and a committee of the sampled potential and pairs of springs."""
    transition = maker.make(salt(K=0.5), [(1, 1, 1), (2, 1, 1)], [300.0, 500.0, 800.0])
    springs = CalculatorSpec(path="calculators:Springs", arguments={"stiffness_eV_per_A2": 1e-4})
    compared = TransitionCommitteeMaker(members=[springs]).make(transition.output.uuid)
    return Flow([transition, compared], output=compared.output, order="linear", name="transition committee")


def reanalysis() -> Flow:
    """Return a ladder, and its correction as one of several, from float32 to float64 of the same potential."""
    maker = ThermodynamicIntegrationMaker(
        potential=DEMO, temperature=200.0, relax_maker=None, **METHODS["thermodynamic-integration"]
    )
    ladder = maker.make(salt(), {"Na": "K"})
    target = PotentialSpec(name="mace-demo", device="cpu", dtype="float64")
    corrected = ReanalysisMaker(target=target).make([ladder.jobs[-1].uuid])
    return Flow([ladder, corrected], output=corrected.output, order="linear", name="reanalysis")


def examples() -> dict[str, dict[str, list[Any]]]:
    """Run all flows; return the rows of the collection of outputs and the samples of the first job of each kind."""
    found: dict[str, dict[str, list[Any]]] = {}
    for flow in flows():
        found = stored_by(flow) | found
    return found


def stored_by(flow: Flow) -> dict[str, dict[str, list[Any]]]:
    """Run a flow; return the row of the collection of outputs and the samples of one job of each kind.

    This is the job whose output is that of the flow; of other kinds the first one.
    """
    print(flow.name, flush=True)
    found: dict[str, dict[str, list[Any]]] = {}
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore(key="blob_uuid")})
    with tempfile.TemporaryDirectory() as folder:
        run_locally(flow, store=store, root_dir=folder, create_folders=True, log=False, raise_immediately=True)
    blobs = {blob["blob_uuid"]: blob for blob in store.additional_stores["data"].query()}
    result = getattr(flow.output, "uuid", None)
    for row in sorted(store.docs_store.query(), key=lambda row: row["uuid"] != result):
        del row["_id"]
        used = [blobs[uuid] for uuid in sorted(blobs) if uuid in json_util.dumps(row)]
        for blob in used:
            blob.pop("_id", None)
        if row["output"] is not None and "@class" in row["output"]:
            found.setdefault(row["output"]["@class"], {"outputs": [row], "samples": used})
    return found


def further() -> Iterator[tuple[str, Flow, set[str]]]:
    """Yield the word in the names of further examples, a flow, and the kinds of which its documents are kept."""
    few: dict[str, Any] = {"potential": DEMO, "n_frames": 4, "relax_maker": None}
    ladder = ThermodynamicIntegrationMaker(
        temperature=200.0, n_windows=2, windows_per_job=2, n_equilibration_steps=20, n_production_steps=100, **few
    )
    flow = ladder.make(salt(), {"Na": "K"})
    yield "frames", flow, {"FreeEnergyDocument", "WindowsDocument"}
    # "exchange" are examples without the samples at exchanged temperatures, which an earlier release stored.
    exchanging = replace(ladder, exchange_temperatures=[250.0], n_frames=0)
    yield "temperatures", exchanging.make(salt(), {"Na": "K"}), {"WindowsDocument"}
    switching = SwitchingMaker(temperature=200.0, pressure_GPa=None, **few, **SWITCHES)
    yield "frames", switching.make(salt(), {"Na": "K"}), {"SwitchingDocument"}
    sweeps: dict[str, Any] = few | {"n_replicas": 2, "n_equilibration_sweeps": 5}
    chains = MonteCarloMaker(n_production_sweeps=20, n_md_steps=2, targets={"K": 0.5}, **sweeps)
    yield "frames", chains.make(salt(K=0.5), (1, 1, 1), [900.0]), {"MonteCarloDocument"}
    transition = OrderDisorderTransitionMaker(n_production_sweeps=20, **sweeps)
    yield "frames", transition.make(salt(K=0.5), [(1, 1, 1)], [300.0, 500.0, 800.0]), {"TransitionDocument"}
    del sweeps["n_replicas"]
    mixing = MixingMaker(n_potentials=5, n_production_sweeps=40, **sweeps)
    yield "frames", mixing.make(salt(), {"Na": ["Na", "K"]}, (1, 1, 1), [600.0]), {"MixingDocument"}
    yield "spreads", mixing_committee(mixing), {"MixingCommitteeDocument"}
    dynamics: dict[str, Any] = few | {"n_equilibration_sweeps": 1, "n_md_steps": 2, "n_frames": 0}
    chains = MonteCarloMaker(n_replicas=2, n_production_sweeps=4, **dynamics)
    yield "sites", chains.make(salt(K=0.5), (1, 1, 1), [900.0]), {"MonteCarloDocument"}
    liquid = LiquidFreeEnergyMaker(
        potential=DEMO, temperature=1500.0, n_repeats=2, n_heating_steps=20, n_cell_steps=60, n_equilibration_steps=40,
        n_switching_steps=40, n_frames=4,
    )  # fmt: skip
    yield "frames", liquid.make(salt()), {"LiquidDocument", "LiquidFreeEnergyDocument"}
    absolute = FrenkelLaddMaker(temperature=50.0, timestep_fs=4.0, quantum=True, **few, **ABSOLUTE)
    sweep: dict[str, Any] = {"n_repeats": 2, "n_equilibration_steps": 20, "n_switching_steps": 40, "n_points": 3}
    of_temperature = TemperatureSweepMaker(frenkel_ladd_maker=absolute, **sweep).make(iron(), 40.0, 80.0)
    yield "quantum", of_temperature, {"FrenkelLaddDocument", "EquilibriumDocument", "TemperatureSweepDocument"}
    of_pressure = PressureSweepMaker(frenkel_ladd_maker=absolute, **sweep).make(iron(), 0.0, 0.5)
    yield "forces", of_pressure, {"PressureSweepDocument"}
    melting = MeltingPointMaker(frenkel_ladd_maker=absolute, n_heating_steps=20, **sweep)
    yield "quantum", melting.make(salt(), MELTING_RANGE_K), {"MeltingDocument"}
    contact = replace(melting, n_coexistence_temperatures=2, n_coexistence_repeats=8, n_coexistence_steps=60)
    yield "coexistence", contact.make(salt(), MELTING_RANGE_K), {"MeltingDocument"}
    phases = PhaseStabilityMaker(
        frenkel_ladd_maker=absolute, runs="curves", n_sweep_repeats=2, n_sweep_equilibration_steps=20, n_sweep_steps=40
    )
    crystals = {"small": iron(), "large": iron() * (1, 1, 2)}
    yield (
        "boundaries",
        phases.make(crystals, [40.0, 200.0], boundary_pressures=[0.5]),
        {
            "PhaseStabilityDocument",
            "PressureSweepDocument",
        },
    )
    yield "disorder", order_and_disorder(), {"OrderDisorderDocument"}
    stages = CorrectionMaker(target=SpringsMaker(), earlier=[CalculatorSpec(path="calculators:Springs")])
    yield "stages", after_a_ladder(ladder, stages), {"CorrectionDocument"}
    runs = TargetRunSettings(n_runs=1, n_equilibration_steps=5, n_production_steps=20, n_frames=10)
    sampled = CorrectionMaker(target=DEMO.model_copy(update={"dtype": "float64"}), target_runs=runs)
    yield "sampled", after_a_ladder(ladder, sampled), {"CorrectionDocument"}


def after_a_ladder(ladder: ThermodynamicIntegrationMaker, maker: CorrectionMaker) -> Flow:
    """Return a ladder and its correction."""
    sampled = ladder.make(salt(), {"Na": "K"})
    correction = maker.make(sampled.jobs[-1].uuid)
    return Flow([sampled, correction], output=correction.output, order="linear", name=maker.name)


def combination() -> dict[str, dict[str, list[Any]]]:
    """Return the row of two ladders that are combined; no job returns it."""
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore(key="blob_uuid")})
    ladders = []
    for temperature_K in (200.0, 250.0):
        settings = METHODS["thermodynamic-integration"] | {"n_production_steps": 400, "relax_maker": None}
        maker = ThermodynamicIntegrationMaker(potential=DEMO, temperature=temperature_K, pressure_GPa=0.0, **settings)
        flow = maker.make(salt(), {"Na": "K"})
        with tempfile.TemporaryDirectory() as folder:
            run_locally(flow, store=store, root_dir=folder, create_folders=True, log=False, raise_immediately=True)
        uuid = flow.jobs[-1].uuid
        document = decoded(store.get_output(uuid, load=True))
        windows = [decoded(store.get_output(job, load=True)) for job in document.window_jobs]
        ladders.append(StoredLadder(uuid, document, windows))
    store.update(as_output(combined(ladders, [200.0, 225.0, 250.0, 2000.0])))
    (row,) = store.docs_store.query({"output.@class": "CombinedLadders"})
    del row["_id"]
    return {"CombinedLadders": {"outputs": [row], "samples": []}}


def write_documents() -> None:
    """Write a file for each kind of document."""
    for kind, example in (examples() | combination()).items():
        write_example(kind, "", example)


def write_further(words: set[str]) -> None:
    """Write the further examples with some words, all if there are none."""
    for word, flow, kinds in further():
        if not words or word in words:
            found = stored_by(flow)
            for kind in sorted(kinds):
                write_example(kind, f"-{word}", found[kind])


def write_example(kind: str, word: str, example: dict[str, list[Any]]) -> None:
    """Write an example of a kind of document."""
    path = DOCUMENTS / f"{kind}-{current_version(kind)}{word}.json"
    path.write_text(json_util.dumps(example, indent=1, ensure_ascii=False) + "\n")
    print(path.name, path.stat().st_size, *sorted(kinds_within(example)))


def write_workflow() -> None:
    """Write a small model, and a workflow with it as it lies in the LaunchPad."""
    gentle = {"seed": 5, "atomic_inter_scale": 0.3, "correlation": 2, "atomic_energies": np.full(5, -3.0)}
    model = build_mace(**(VARIANTS["scalars"] | gentle))
    save_mace(model, MODEL, name="gentle", description="random weights, for tests")
    sites = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    perovskite = Structure(Lattice.cubic(6.3), ["Cs", "Pb", "I", "I", "I"], sites)
    settings = METHODS["thermodynamic-integration"] | {"relax": False}
    spec = PotentialSpec(name=str(MODEL), device="cpu")
    wanted = campaign("thermodynamic-integration", perovskite, {"Pb": "Sn"}, spec, **settings)
    (task,) = tasks(wanted)
    workflow = _workflow(task, task.flow(), wanted.resources)
    content = json_util.dumps(workflow.to_db_dict() | {"fws": [fw.to_db_dict() for fw in workflow.fws]}, indent=1)
    WORKFLOW.write_text(content.replace(str(MODEL.resolve()), PLACEHOLDER) + "\n")
    print(WORKFLOW.name, WORKFLOW.stat().st_size, MODEL.stat().st_size)


if __name__ == "__main__":
    if not sys.argv[1:]:
        write_workflow()
        write_documents()
    write_further(set(sys.argv[1:]))
