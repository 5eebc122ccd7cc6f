"""Several ladders corrected to a new potential, run by jobflow in this process."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from jobflow import run_locally
from models import GENTLE, save_mace

from alchemflows.analysis.reanalysis import rerun_command
from alchemflows.cli.layout import plain_console
from alchemflows.cli.shown import show
from alchemflows.errors import InvalidInputError, PotentialError
from alchemflows.flows.reanalysis import ReanalysisMaker
from alchemflows.jobs.frames import stored_ladder
from alchemflows.plotting import figures_of
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.reanalysis import ReanalysisDocument
from alchemflows.schemas.reasons import Reason

SECOND, THIRD = "b1c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10", "c2c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10"


@pytest.fixture(scope="module")
def ladders(framed_ladder):
    """Return the store and the identifiers of three ladders: one, a copy of it, and one whose windows are missing."""
    store, uuid = framed_ladder
    document = stored_ladder(store, uuid)
    lost = document.model_copy(update={"window_jobs": ["d3c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10"]})
    for other, content in ((SECOND, document), (THIRD, lost)):
        store.update({"uuid": other, "index": 1, "name": "free energy", "output": content, "metadata": {}})
    return store, uuid


def reanalysed(ladders, tmp_path, target, uuids, **arguments) -> ReanalysisDocument:
    store, _ = ladders
    flow = ReanalysisMaker(target=target).make(uuids, **arguments)
    outputs = run_locally(flow, store=store, root_dir=tmp_path, log=False)
    return outputs[flow.jobs[-1].uuid][1].output


def test_a_potential_that_overlaps(ladders, tmp_path, capsys):
    """The corrections are those of single ladders; ladders that fail or are refused must be run again."""
    store, uuid = ladders
    close = save_mace(tmp_path / "close.model", "scalars", **GENTLE | {"atomic_inter_scale": 0.301})
    target = PotentialSpec(name=str(close), dtype="float64")
    refused = {SECOND: "it ends in a mixed crystal"}
    found = reanalysed(ladders, tmp_path, target, [uuid, THIRD], elements=[55, 82, 50, 53], refused=refused)
    assert [ladder.ladder for ladder in found.ladders] == [uuid, THIRD, SECOND]
    first, lost, mixed = found.ladders
    assert first.overlaps and first.rerun is None and first.uncorrected == stored_ladder(store, uuid).total
    corrected = first.uncorrected.delta_f_eV + first.correction.delta_f_eV
    assert first.total.delta_f_eV == pytest.approx(corrected) and first.correction.delta_f_eV != 0
    assert lost.correction is None and "failed" in lost.reasons[0] and lost.job[:8] in lost.reasons[0]
    assert mixed.correction is None and refused[SECOND] in mixed.reasons[0] and mixed.job is None
    assert lost.rerun == f"alchemflows rerun {THIRD[:8]} --potential {close}"
    assert found.n_overlapping == 1 and found.potential.name == str(close)
    assert any(reason.startswith(f"{SECOND[:8]}: ") for reason in found.verdict.reasons)
    assert ReanalysisDocument.read(found.model_dump()) == found
    show(found, plain_console())
    printed = capsys.readouterr().out
    assert "1 of 3 ladders" in printed and f"rerun {SECOND[:8]}" in printed and "not corrected" in printed
    drawn = figures_of(found)
    assert list(drawn) == ["reanalysis"] and "1 of 3" in drawn["reanalysis"]()._suptitle.get_text()


def test_a_target_without_overlap(ladders, tmp_path, capsys):
    """A calculator cannot be sampled, so there is no command for it."""
    _, uuid = ladders
    springs = CalculatorSpec(path="calculators:Springs", arguments={"stiffness_eV_per_A2": 1.0})
    found = reanalysed(ladders, tmp_path, springs, [uuid, SECOND])
    assert found.n_overlapping == 0 and found.potential is None
    for ladder in found.ladders:
        assert ladder.correction is not None and ladder.rerun is None
        assert Reason.FRAMES_OVERLAP in map(Reason.of, ladder.reasons)
    np.testing.assert_allclose(found.ladders[0].n_effective, found.ladders[1].n_effective)
    show(found, plain_console())
    assert "with a potential of this package" in capsys.readouterr().out


def test_bad_input_is_refused_before_work(gentle_model):
    maker = ReanalysisMaker(target=PotentialSpec(name=str(gentle_model)))
    for ladders, words in (([], "at least one"), ([SECOND, SECOND], "twice"), (["no ID!"], "no ID!")):
        with pytest.raises(InvalidInputError, match=words):
            maker.make(ladders)
    with pytest.raises(InvalidInputError, match=r"\bGe\b"):
        maker.make([SECOND], elements=[32])
    with pytest.raises(InvalidInputError, match="max_failed"):
        replace(maker, max_failed=-0.1).make([SECOND])
    with pytest.raises(PotentialError, match="no such"):
        ReanalysisMaker(target=PotentialSpec(name="no such potential")).make([SECOND])


def test_the_line_to_type():
    spec = PotentialSpec(name="/data/my models/new.model", head="pbe")
    assert (
        rerun_command(SECOND, spec)
        == f"alchemflows rerun {SECOND[:8]} --potential '/data/my models/new.model' --head pbe"
    )
    assert rerun_command(SECOND, None) is None
