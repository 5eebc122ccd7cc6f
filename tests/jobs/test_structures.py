"""Tests of the record of a structure, which is stored with all jobs made from it."""

from __future__ import annotations

from jobflow import Flow
from pymatgen.core import Lattice, Structure

from alchemflows.campaign.specification import campaign_of, tasks
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.jobs.structures import record_structures
from alchemflows.structures.reading import structure_of

SALT = Structure(Lattice.cubic(3.4), [{"Na": 0.5, "K": 0.4}, "Cl"], [[0, 0, 0], [0.5] * 3])


def jobs_of(flow):
    return [job for each in flow.jobs for job in (jobs_of(each) if isinstance(each, Flow) else [each])]


def test_all_jobs_of_a_flow_and_their_replacements_have_the_record():
    read = structure_of(SALT).repeated((2, 1, 1))
    flow = ThermodynamicIntegrationMaker(potential="mace-demo", n_windows=2).make(read.structure, {"Na": "Li"})
    record_structures(flow, {"salt": read.record})
    for job in jobs_of(flow):
        stored = job.metadata["structures"]["salt"]
        assert stored["formula"] == read.record.formula and stored["vacancies"][0]["fraction"] == 0.1
        assert stored["supercell"] == [2, 1, 1]
        assert any("structures" in update["update"] for update in job.metadata_updates)


def test_all_jobs_of_a_campaign_have_the_record_of_their_structure():
    campaign = campaign_of(
        {
            "name": "salts",
            "structures": {"salt": {"structure": SALT.as_dict()}},
            "transformations": {"NaLi": {"Na": "Li"}},
            "temperatures_K": [300],
            "method": {"kind": "thermodynamic-integration"},
            "potential": {"name": "mace-demo"},
        }
    )
    (task,) = tasks(campaign)
    assert task.metadata["structures"]["salt"]["vacancies"][0]["fraction"] == 0.1
    assert all(job.metadata["structures"]["salt"]["n_sites"] == 2 for job in jobs_of(task.flow()))
