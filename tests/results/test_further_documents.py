"""Further stored examples: documents with the fields that the first examples of their kinds were stored without."""

from __future__ import annotations

import io
from functools import cache

import ase.io
import numpy as np
import pytest
from rich.console import Console
from stored import EXAMPLES, FURTHER, kind_of, read_example, store_examples

from alchemflows.cli.monte_carlo_tables import monte_carlo_tables
from alchemflows.cli.shown import show
from alchemflows.plotting import figures_of
from alchemflows.results.frames import states_of, write_frames
from alchemflows.results.kinds import KINDS
from alchemflows.results.listing import results
from alchemflows.schemas.document import Document, current_version, decoded

#: What each further example has and the first one of its kind lacks, as paths within the document.
ADDED = {
    "CorrectionDocument-1-sampled": ["initial.target_run", "final.target_run.bar", "covariance_eV2"],
    "CorrectionDocument-1-stages": ["stages.0.target", "frame_jobs.0", "covariance_eV2"],
    "EquilibriumDocument-1-quantum": ["frames"],
    "FreeEnergyDocument-1-exchange": ["windows.0.exchange", "dynamics.exchange_temperatures_K.0"],
    "FreeEnergyDocument-1-frames": [],
    "FrenkelLaddDocument-1-quantum": ["mode_energies_eV.0", "quantum_correction_eV", "mean_cell_job"],
    "LiquidDocument-1-frames": ["frames"],
    "LiquidFreeEnergyDocument-1-frames": ["mean_cell_job"],
    "MeltingDocument-1-coexistence": ["coexistence.points.0"],
    "MeltingDocument-1-quantum": ["quantum_shift_K", "quantum_shift_error_K", "solid.quantum.harmonic_eV.0"],
    "MixingCommitteeDocument-1-spreads": ["frames.0.member"],
    "MixingDocument-1-frames": ["states.0.frames"],
    "MonteCarloDocument-1-frames": ["replicas.0.frames"],
    "MonteCarloDocument-1-sites": ["points.0.sites"],
    "OrderDisorderDocument-1-disorder": ["sampled_temperature_K"],
    "PhaseStabilityDocument-1-boundaries": ["boundaries.0.pressures_GPa.1", "curves.0.quantum"],
    "PressureSweepDocument-1-boundaries": ["anchor.mode_energies_eV.0"],
    "PressureSweepDocument-1-forces": ["quantum.wigner_kirkwood_eV"],
    "SwitchingDocument-1-frames": ["initial_frames", "final_frames"],
    "TemperatureSweepDocument-1-quantum": ["quantum.wigner_kirkwood_eV", "anchor.mode_energies_eV.0"],
    "TransitionDocument-1-frames": ["unit_cell", "cells.0.job"],
    "WindowsDocument-1-exchange": ["windows.0.exchange.acceptance.0"],
    "WindowsDocument-1-temperatures": ["windows.0.exchange.sites.0"],
    "WindowsDocument-1-frames": ["windows.0.frames", "windows.1.frames"],
}
#: Number of frames of each state, for results that have them.
FRAMES = {
    "FreeEnergyDocument-1-frames": [4, 4],
    "FrenkelLaddDocument-1-quantum": [4],
    "MixingDocument-1-frames": [4] * 5,
    "MonteCarloDocument-1-frames": [4],
    "SwitchingDocument-1-frames": [2, 2],
}


@pytest.fixture(scope="module")
def examples(shared_database):
    """Return a database with the further examples alone."""
    store_examples(shared_database, FURTHER)
    return shared_database


@cache
def content(stem):
    """Return the row of a further example."""
    (row,) = read_example(next(path for path in FURTHER if path.stem == stem))["outputs"]
    return row


def at(found, path):
    for name in path.split("."):
        found = found[int(name)] if isinstance(found, list) else found.get(name)
        if found is None:
            return None
    return found


def test_further_examples_are_known():
    assert {path.stem for path in FURTHER} == set(ADDED)
    assert {kind_of(path) for path in FURTHER} <= {kind_of(path) for path in EXAMPLES}
    for path in FURTHER:
        _, version, _ = path.stem.split("-")
        assert 1 <= int(version) <= current_version(kind_of(path))


def test_every_field_of_every_stored_document_is_in_an_example():
    """A file that was written before a field was added needs a further example, from tests/data/make_documents.py."""
    there = {}
    for path in (*EXAMPLES, *FURTHER):
        for row in read_example(path)["outputs"]:
            there.setdefault(row["output"]["@class"], set()).update(row["output"])
    kinds = {kind.__name__: kind for kind in subclasses(Document)}
    missing = {name: sorted(set(kinds[name].model_fields) - fields) for name, fields in there.items()}
    assert {name: fields for name, fields in missing.items() if fields} == {}


def subclasses(parent):
    for kind in parent.__subclasses__():
        if kind.__module__.startswith("alchemflows."):
            yield kind
        yield from subclasses(kind)


@pytest.mark.parametrize("stem", sorted(ADDED))
def test_a_further_example_is_read_and_has_what_was_added(examples, stem):
    row = content(stem)
    first = read_example(next(path for path in EXAMPLES if kind_of(path) == row["output"]["@class"]))["outputs"][-1]
    for path in ADDED[stem]:
        assert at(row["output"], path) not in (None, [], {}), path
        assert at(first["output"], path) in (None, [], {}), f"{path} is in the first example too"
    read = decoded(examples.job_store.get_output(row["uuid"], load=True))
    assert isinstance(read, Document) and type(read).__name__ == stem.partition("-")[0]
    assert type(read).read(read.model_dump()) == read


@pytest.mark.parametrize("stem", sorted(stem for stem in ADDED if stem.partition("-")[0] in KINDS))
def test_a_further_example_is_listed_printed_and_plotted(examples, stem):
    row = content(stem)
    document = decoded(examples.job_store.get_output(row["uuid"], load=True))
    (listed,) = [each for each in results(examples) if each["uuid"] == row["uuid"]]
    assert listed["value"] is not None and listed["system"]
    console = Console(width=120, file=io.StringIO(), color_system=None)
    show(document, console)
    assert console.file.getvalue().strip()
    for name, draw in figures_of(document).items():
        assert draw().axes, name


@pytest.mark.parametrize("stem", sorted(FRAMES))
def test_frames_of_each_kind_are_exported(examples, stem, tmp_path):
    document, states = states_of(examples, content(stem)["uuid"])
    assert [len(state.frames.energy_eV) for state in states] == FRAMES[stem]
    assert write_frames(document, states, tmp_path / "frames.xyz") == sum(FRAMES[stem])
    images = ase.io.read(tmp_path / "frames.xyz", index=":")
    energies = np.concatenate([state.frames.energy_eV for state in states])
    np.testing.assert_allclose([image.get_potential_energy() for image in images], energies, atol=1e-6)
    positions = np.array([image.get_scaled_positions() for image in images])
    moved = np.abs(positions - positions[0]).max()
    assert moved > 0 or stem == "MixingDocument-1-frames"  # without dynamics only the arrangement changes


def test_a_condition_of_all_points_is_above_the_tables_of_arrangements(examples):
    """If it were in each row, all three tables would be lists of cells at 80 columns."""
    uuid = content("MonteCarloDocument-1-frames")["uuid"]
    document = decoded(examples.job_store.get_output(uuid, load=True))
    (point,) = document.points
    assert point.composition_label
    lines = [line.strip() for line in printed(document, 80)]
    assert point.composition_label in lines[0]
    n_rows = sum(map(len, point.composition)) + len(point.warren_cowley) + len(point.waves)
    assert sum(line.startswith(f"{point.temperature_K:g} K ") for line in lines) == n_rows
    another = point.model_copy(update={"targets": [{"Na": 0.25, "K": 0.75}]})
    title, *others = printed(document.model_copy(update={"points": [point, another]}), 200)
    assert point.composition_label not in title
    assert point.label in " ".join(others) and another.label in " ".join(others)


def printed(document, width):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(monte_carlo_tables(document))
    return console.file.getvalue().splitlines()
