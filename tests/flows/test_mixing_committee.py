"""Committees of potentials on a stored free energy of mixing, whose positions are frozen."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from ase import units
from calculators import Springs
from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore
from monty.json import jsanitize
from stored import DOCUMENTS, read_example

from alchemflows.analysis.frames import mixing_states
from alchemflows.analysis.members import EvaluatedMember
from alchemflows.analysis.mixing_committee import check_pure, mixing_committee_document, second_counts
from alchemflows.cli.layout import plain_console
from alchemflows.cli.shown import show
from alchemflows.errors import AlchemflowsError, InvalidInputError
from alchemflows.flows.mixing_committee import MixingCommitteeMaker
from alchemflows.free_energy.mixing import log_arrangements
from alchemflows.jobs.stores import stored_output
from alchemflows.plotting import figures_of
from alchemflows.results.worst_frames import worst_frames
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.frames import Frames
from alchemflows.schemas.mixing import MixingDocument
from alchemflows.schemas.mixing_committee import MixingCommitteeDocument
from alchemflows.schemas.reasons import Reason

SPRINGS = [
    CalculatorSpec(path="calculators:Springs", arguments={"stiffness_eV_per_A2": value}) for value in (1e-4, 2e-4)
]


#: Frames of each composition in each state.
N_EACH = 12


@pytest.fixture(scope="module")
def stored() -> tuple[JobStore, str]:
    """Return a store with a free energy of mixing of (Na,K)Cl on four sites, and its identifier.

    It is that of an example with other frames: all compositions in each state, whose energies agree exactly with the
    free energy of mixing.
    """
    example = read_example(DOCUMENTS / "MixingDocument-1-frames.json")
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore(key="blob_uuid")})
    store.connect()
    store.docs_store.update(example["outputs"], key=["uuid", "index"])
    store.additional_stores["data"].update(example["samples"], key="blob_uuid")
    uuid = example["outputs"][0]["uuid"]
    document = stored_output(store, uuid)
    mixing_eV = np.array(document.isotherms[0].mixing_eV) + units.kB * 600.0 * log_arrangements(4)
    for state in document.states:
        frames = Frames.unpacked(state.frames)
        mixing = np.flatnonzero((frames.numbers > 0).sum(axis=1) > 1)
        second = int((frames.numbers[mixing[0]] == 19).argmax())
        number = np.repeat(np.arange(5), N_EACH)
        occupied = np.repeat(frames.occupied[:1], len(number), axis=0)
        occupied[:, mixing] = np.where(np.arange(4) < number[:, None], second, 1 - second)
        state.frames = Frames(
            frames.numbers,
            frames.shares,
            np.repeat(frames.fractional[:1], len(number), axis=0),
            np.repeat(frames.cells_A[:1], len(number), axis=0),
            -27.0 + 0.3 * number + mixing_eV[number],
            np.arange(1.0, len(number) + 1),
            occupied,
            np.arange(1, len(number) + 1),
        ).packed()
    fit = document.fit  # of an earlier release, without the covariance
    errors = fit.enthalpy_errors_eV_per_mixing_site + fit.entropy_errors_eV_per_K_per_mixing_site
    fit.covariance = np.diag(np.square(errors)).tolist()
    row = example["outputs"][0] | {"output": jsanitize(document, strict=True)}
    store.docs_store.update(row, key=["uuid", "index"])
    return store, uuid


def run(store: JobStore, flow: Flow, folder) -> MixingCommitteeDocument:
    outputs = run_locally(flow, store=store, root_dir=folder, log=False)
    return outputs[flow.output.uuid][1].output


def check_worst_frames(store: JobStore, uuid: str, found: MixingCommitteeDocument, monkeypatch) -> None:
    """Check the frames at which the members disagree most: one of each composition, since positions are constant."""
    for module in ("frames", "worst_frames"):
        monkeypatch.setattr(
            f"alchemflows.results.{module}.find_result",
            lambda database, uuid: (uuid, stored_output(database.job_store, uuid)),
        )
    database = SimpleNamespace(job_store=store)
    frames = worst_frames(database, uuid, 5)
    spreads = [frame.spread_eV for frame in frames]
    assert spreads == sorted(spreads, reverse=True) and spreads[0] == pytest.approx(found.frames[0].spread_eV)
    first, *_ = found.frames
    assert (frames[0].atoms.info["state"], frames[0].index) == (first.state, first.index)
    assert frames[0].atoms.get_chemical_symbols().count("K") == 4 * first.fraction
    assert {frame.atoms.get_chemical_symbols().count("K") for frame in frames} == set(range(5))
    with pytest.raises(InvalidInputError, match="5 frames"):
        worst_frames(database, uuid, 6)


def test_springs_mix_ideally(stored, tmp_path, capsys, monkeypatch):
    """At frozen positions their energy is that of the positions, whatever the elements are: all mixing is ideal."""
    store, uuid = stored
    document = stored_output(store, uuid)
    flow = MixingCommitteeMaker(members=SPRINGS, tolerance_meV_per_atom=1e-3).make(uuid)
    found = run(store, flow, tmp_path)
    sampled, *others = found.members
    assert sampled.sampled and sampled.isotherms[0].mixing_eV == document.isotherms[0].mixing_eV
    ideal = -units.kB * 600.0 * log_arrangements(4)
    errors = np.array(document.isotherms[0].mixing_errors_eV, dtype=float)
    for member in others:
        (isotherm,) = member.isotherms
        assert isotherm.mixing_eV == pytest.approx(ideal, abs=1e-6) and member.overlaps
        assert isotherm.binodal is None and isotherm.change_errors_eV == pytest.approx([0.0] * 5, abs=1e-6)
        assert np.abs(isotherm.change_eV[2]) > 0.02
    half = next(each for each in found.spreads if each.fraction == 0.5)
    values = [member.isotherms[0].mixing_eV[2] for member in found.members]
    assert half.mean == pytest.approx(np.mean(values)) and half.sigma_model == pytest.approx(np.std(values, ddof=1))
    # All members have the error of the sampled free energy of mixing, which is no disagreement.
    assert half.sigma_stat == pytest.approx(errors[2], rel=1e-4) and half.sigma_noise < 1e-6
    (reason,) = [text for text in found.verdict.reasons if Reason.of(text) is Reason.MIXING_DISAGREES]
    assert "600 K" in reason and f"{1e3 * found.largest(600.0).sigma_model / 8:.3g} meV/atom" in reason
    assert MixingCommitteeDocument.read(found.model_dump()) == found
    show(found, plain_console())
    printed = capsys.readouterr().out
    assert "σ_model" in printed and "σ_stat" in printed and "no gap" in printed
    drawn = figures_of(found)
    assert list(drawn) == ["committee"] and "committee" in drawn["committee"]()._suptitle.get_text()
    assert any(f"state {found.frames[0].state}, frame {found.frames[0].index} " in note for note in found.verdict.notes)
    assert "frames at which the members disagree most" in printed
    assert found.largest(600.0).numbers in dict(found.__repr_args__()).values()
    check_worst_frames(store, flow.output.uuid, found, monkeypatch)


def test_frames_are_counted_by_their_composition(stored):
    store, uuid = stored
    for state in mixing_states(stored_output(store, uuid)):
        symbols = [atoms.get_chemical_symbols() for atoms in state.frames.atoms()]
        assert second_counts(state, "K").tolist() == [each.count("K") for each in symbols]


def test_a_member_that_fails_is_left_out(stored, tmp_path):
    store, uuid = stored
    broken = CalculatorSpec(path="calculators:Springs", arguments={"fails": list(range(400))})
    found = run(store, MixingCommitteeMaker(members=[SPRINGS[0], broken]).make(uuid), tmp_path)
    assert [each.name for each in found.failed] == [broken.name] and len(found.members) == 2
    assert any(broken.name in note for note in found.verdict.notes)


def analysed(stored, difference_eV, **settings) -> MixingCommitteeDocument:
    """Return the committee of the sampled potential and one that differs by a function of N and of all frames."""
    store, uuid = stored
    document: MixingDocument = stored_output(store, uuid)
    numbers = [second_counts(state, "K") for state in mixing_states(document)]
    member = EvaluatedMember("other", "", None, [difference_eV(n) for n in numbers])
    return mixing_committee_document(uuid, document, numbers, [member], **settings)


def test_a_difference_that_is_linear_in_the_composition_changes_nothing(stored):
    """Such is that of the energies of isolated atoms."""
    found = analysed(stored, lambda n: 7.0 - 3.0 * n)
    assert all(each.sigma_model < 1e-9 for each in found.spreads if each.quantity == "mixing")
    assert all(each.spread_eV < 1e-9 for each in found.frames)


def test_interactions_of_a_member_open_a_gap(stored):
    """A regular solution is added: the gap is that of the fits of the sampled potential and of the change together."""
    strength_eV = 0.25
    found = analysed(stored, lambda n: strength_eV * n * (4 - n) / 4)
    before, after = (member.isotherms[0].binodal for member in found.members)
    assert before is None and 0 < after.left < 0.5 < after.right < 1
    assert any("no gap" in note for note in found.verdict.notes)
    assert not any(each.quantity == "binodal-left" for each in found.spreads)  # of one member there is no spread


def test_without_overlap(stored):
    rng = np.random.default_rng(0)
    found = analysed(stored, lambda n: rng.normal(size=len(n)) * 0.5)
    assert not found.members[1].overlaps
    named = [text for text in found.verdict.reasons if Reason.of(text) is Reason.FRAMES_OVERLAP]
    assert len(named) == 1 and "other: 600 K" in named[0]


def test_what_is_refused(stored):
    store, uuid = stored
    with pytest.raises(InvalidInputError, match="members"):
        MixingCommitteeMaker().make(uuid)
    with pytest.raises(InvalidInputError, match="once"):
        MixingCommitteeMaker(members=[SPRINGS[0], SPRINGS[0]]).make(uuid)
    with pytest.raises(AlchemflowsError, match="broken"):
        document = stored_output(store, uuid)
        mixing_committee_document(uuid, document, [], [EvaluatedMember("broken", "1234", None, None)])
    document = stored_output(store, uuid)
    check_pure(uuid, document, mixing_states(document))
    with pytest.raises(InvalidInputError, match="pure"):  # a larger cell, of which no frame has only one element
        check_pure(uuid, document.model_copy(update={"n_mixing_sites": 5}), mixing_states(document))
    with pytest.raises(InvalidInputError, match="pure"):
        analysed(stored, lambda n: np.full(len(n), np.nan))


def test_springs_of_the_test_have_the_energy_of_the_positions(stored):
    store, uuid = stored
    first, *_ = mixing_states(stored_output(store, uuid))
    energies = []
    for atoms in first.frames.atoms()[:3]:
        atoms.calc = Springs()
        energies.append(atoms.get_potential_energy())
    assert np.ptp(energies) < 1e-9
