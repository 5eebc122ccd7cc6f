"""Corrections of the ladders of a campaign are in its status and its report."""

from __future__ import annotations

import pytest
from calculators import SpringsMaker
from campaigns import CAMPAIGN, campaign_metadata, run_into

from alchemflows.alchemy.backends import resolve
from alchemflows.campaign.corrections import add_to_campaign
from alchemflows.campaign.status import campaign_status
from alchemflows.execution.local import submit
from alchemflows.flows.committee import CommitteeMaker
from alchemflows.flows.correction import CorrectionMaker
from alchemflows.flows.reanalysis import ReanalysisMaker
from alchemflows.flows.rerun import ladder_again
from alchemflows.jobs.frames import frames_of_ladder, stored_ladder
from alchemflows.report.campaign import write_report
from alchemflows.results.listing import results
from alchemflows.schemas.correction import CalculatorSpec, EvaluationLimits
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.storage.fireworks import remove_incomplete, submitted_tasks

SPRINGS = CalculatorSpec(path="calculators:Springs", arguments={"stiffness_eV_per_A2": 1e-4})


@pytest.mark.slow
def test_corrections_are_in_the_report_of_the_campaign(shared_database, ladder_flow, tmp_path):
    ladders = [
        run_into(shared_database, ladder_flow(k, n_windows=2, windows_per_job=2, n_frames=10), tmp_path)
        for k in range(2)
    ]
    flow = ReanalysisMaker(target=SPRINGS).make(ladders)
    parts = dict(zip(ladders, flow.jobs, strict=False))
    assert add_to_campaign(shared_database, flow, parts) == CAMPAIGN
    fw_ids = submit(shared_database, flow)
    remove_incomplete(shared_database.launchpad, CAMPAIGN)
    assert sum(row.states["READY"] + row.states["WAITING"] for row in campaign_status(shared_database, CAMPAIGN)) == 3
    assert shared_database.launchpad.fireworks.count_documents({"fw_id": {"$in": fw_ids}}) == 3
    assert None not in submitted_tasks(shared_database.launchpad, CAMPAIGN)
    run_into(shared_database, flow, tmp_path)
    by_jobs = CorrectionMaker(target=SpringsMaker(), limits=EvaluationLimits(max_evaluations=8)).make(ladders[1])
    assert add_to_campaign(shared_database, by_jobs, {ladders[1]: by_jobs}) == CAMPAIGN
    run_into(shared_database, by_jobs, tmp_path)
    rows = results(shared_database, campaign=CAMPAIGN)
    assert sorted(row["kind"] for row in rows) == [*["correction"] * 3, *["ladder"] * 2, "reanalysis"]
    assert sorted(row["repeat"] for row in rows if row["kind"] == "correction") == [0, 1, 1]
    assert all(row["structure"] == "CsPbI3" for row in rows if row["kind"] == "correction")
    path = tmp_path / "report.html"
    assert write_report(shared_database, CAMPAIGN, path, n_figures=0) == 6
    assert all(row["uuid"][:8] in path.read_text() for row in rows)


@pytest.mark.slow
def test_committees_and_reruns_are_in_the_campaign_beside_its_ladder(
    shared_database, ladder_flow, gentle_model, tmp_path
):
    """A rerun is another calculation than the task: neither ladder hides the other, and its steps are counted."""
    made = ladder_flow(7, n_windows=2, windows_per_job=2, n_frames=10)
    made.update_metadata(campaign_metadata(7, name="judged", n_sites=5))
    ladder = run_into(shared_database, made, tmp_path)
    committee = CommitteeMaker(members=[SPRINGS]).make(ladder)
    assert add_to_campaign(shared_database, committee, {ladder: committee}) == "judged"
    submit(shared_database, committee)
    document = stored_ladder(shared_database.job_store, ladder)
    frames = [each.frames for each in frames_of_ladder(shared_database.job_store, document)]
    potential, _ = resolve(PotentialSpec(name=str(gentle_model), dtype="float64"))
    again = ladder_again(document, *frames, potential)
    assert add_to_campaign(shared_database, again, {ladder: again}, potential) == "judged"
    submit(shared_database, again)
    (condition,) = campaign_status(shared_database, "judged")
    assert condition.states.total() == 2 + len(again.jobs)
    n_steps = sum(window.n_runs * 220 for window in document.windows)
    assert condition.atom_steps.total() == 5 * n_steps
    for flow in (committee, again):
        run_into(shared_database, flow, tmp_path)
    rows = results(shared_database, campaign="judged")
    assert sorted(row["kind"] for row in rows) == ["committee", "correction", "ladder", "ladder"]
    assert len({row["task"] for row in rows if row["kind"] == "ladder"}) == 2
    assert {row["structure"] for row in rows} == {"CsPbI3"} and {row["repeat"] for row in rows} == {7}


def test_corrections_of_other_ladders_belong_to_no_campaign(shared_database):
    uuid = "a3c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10"
    flow = CorrectionMaker(target=SPRINGS).make(uuid)
    assert add_to_campaign(shared_database, flow, {uuid: flow}) is None
    assert "campaign" not in flow.jobs[0].metadata
