"""Values in campaign files: how YAML types are read, and errors with field and line."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from alchemflows.campaign.campaign import Campaign
from alchemflows.campaign.specification import campaign_of, read_campaign, tasks
from alchemflows.campaign.submission import submit_campaign
from alchemflows.errors import AlchemflowsWarning, InvalidInputError
from alchemflows.schemas.campaign import JobResources, Resources
from alchemflows.schemas.queue import TIMES

TEXT = """\
name: salts
structures:
  NaCl: {{file: NaCl.cif}}
transformations:
  change: {transformation}
temperatures_K: {temperatures}
pressures_GPa: [null]
method:
  kind: thermodynamic-integration
  settings: {{n_windows: 2, relax: false, {settings}}}
potential: {{name: mace-demo, device: cpu}}
resources:
  queue: {{{queue}}}
  kinds: {{analysis: {{queue: {{{queue}}}}}}}
"""
USUAL = {"transformation": "{Na: K}", "temperatures": "[300]", "settings": "n_production_steps: 60", "queue": ""}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("values")
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    for name in ("NaCl", "again"):
        cell.to(str(path / f"{name}.cif"))
    return path


def read(folder, text=TEXT, **values):
    (folder / "campaign.yaml").write_text(text.format(**USUAL | values))
    return read_campaign(folder / "campaign.yaml")


@given(days=st.integers(0, 60), hours=st.integers(0, 99), seconds=st.integers(0, 3599), key=st.sampled_from(TIMES))
def test_a_time_is_read_as_a_string(folder, days, hours, seconds, key):
    time = f"{hours:02}:{seconds // 60:02}:{seconds % 60:02}"
    times = [time, f'"{time}"', f"{days}-{hours % 24:02}:00:00"]
    for written in times:
        campaign = read(folder, queue=f"{key}: {written}")
        assert campaign.resources.queue == {key: written.strip('"')} == campaign.resources.kinds["analysis"].queue


@given(
    key=st.sampled_from(TIMES),
    written=st.integers(0, 10**6).map(str)
    | st.integers(0, 10**6).map(lambda n: f'"{n}"')
    | st.floats(0, 100).map(repr)
    | st.sampled_from(
        ["24:00", "1:30", "24:00:61", "24:60:00", "a day", "24h", "true", "[24]", "{h: 24}", "-1:00:00", ".inf"]
    ),
)
def test_a_time_without_a_unit_is_refused_with_the_line(folder, key, written):
    with pytest.raises(InvalidInputError, match=rf"campaign\.yaml, line 13: resources\.queue: {key}\b") as error:
        read(folder, queue=f"{key}: {written}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "queue",
    [
        "account: true",
        "account: [a]",
        "account: {a: b}",
        "mem: .nan",
        "mem: .inf",
        "1: a",
        "two words: a",
        "? true\n: x",
    ],
)
def test_invalid_queue_values_are_refused(folder, queue):
    with pytest.raises(InvalidInputError, match=r"campaign\.yaml, line 1"):
        read(folder, queue=queue)


@pytest.mark.parametrize(
    ("queue", "found"),
    [
        ("account: 007", {"account": "007"}), ("account: no", {"account": "no"}), ("qos: on", {"qos": "on"}),
        ("nodes: 2", {"nodes": 2}), ("account: null", {"account": None}), ("account: 12345", {"account": 12345}),
        ("constraint: 2026-01-01", {"constraint": "2026-01-01"}), ("gres: gpu:1", {"gres": "gpu:1"}),
    ],
)  # fmt: skip
def test_valid_queue_values_are_kept(folder, queue, found):
    assert read(folder, queue=queue).resources.queue == found


@pytest.mark.parametrize(
    "queue", [{"walltime": 86400}, {"walltime": "86400"}, {"walltime": True}, ["walltime"], "24:00:00"]
)
def test_invalid_queue_values_are_refused_from_python(folder, queue):
    content = read(folder).model_dump()
    for make in (campaign_of, lambda fields: Campaign(**fields)):
        with pytest.raises(InvalidInputError, match=r"resources\.queue") as error:
            make(content | {"resources": {"queue": queue}})
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "transformation",
    ["{Na: [K, Li]}", "{Na: 3}", "{Na: 1.5}", "{Na: true}", "{Na: {K: x}}", "{Na: {K: null}}", "{Na: {K: true}}",
     "{Na: {K: .nan}}", "{Na: {K: 2}}", "{Na: {1: 0.5}}", "{Na: {K: [0.5]}}", "{11: K}", "{true: K}", "{Na: [[K]]}"],
)  # fmt: skip
def test_a_wrong_transformation_names_field_and_line(folder, transformation):
    with pytest.raises(InvalidInputError, match=r"campaign\.yaml, line 5: transformations\.change: ") as error:
        read(folder, transformation=transformation)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("transformation", ["[Na, K]", "Na", "3", "null", "true"])
def test_an_invalid_transformation_names_field_and_line(folder, transformation):
    with pytest.raises(InvalidInputError, match=r"campaign\.yaml, line 5: transformations\.change: "):
        read(folder, transformation=transformation)


@pytest.mark.parametrize("word", ["No", "'No'", '"No"'])
def test_nobelium_needs_no_quotes(folder, word):
    campaign = read(folder, transformation=f"{{Na: {word}}}")
    assert campaign.transformations == {"change": {"Na": "No"}}
    with pytest.raises(InvalidInputError, match=r"\bNo\b"):
        next(tasks(campaign)).flow()
    assert read(folder, transformation="{Na: {No: 0.5, K: 0.5}}").transformations["change"] == {
        "Na": {"No": 0.5, "K": 0.5}
    }
    with pytest.raises(InvalidInputError, match=r"\bNo\b.*Cl, Na"):
        next(tasks(read(folder, transformation="{No: K}"))).flow()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("n_window: 3", "n_window"), ("n_runs: many", "n_runs.*many"), ("n_runs: 1.5", "n_runs"),
        ("n_runs: true", "n_runs"), ("timestep_fs: 24:00:00", "timestep_fs"),
        ("n_runs: [1]", "n_runs"), ("timestep_fs: true", "timestep_fs"), ("timestep_fs: .nan", "timestep_fs"),
        ("timestep_fs: .inf", "timestep_fs"), ("timestep_fs: 1:30", "timestep_fs.*1:30"),
        ("friction_per_ps: null", "friction_per_ps"), ("spacing: no", "spacing"), ("lambdas: 0.5", "lambdas"),
        ("lambdas: [0, .nan]", "lambdas.1"), ("replica_exchange: maybe", "replica_exchange"),
        ("replica_exchange: 3", "replica_exchange"),
        ("target_error: {a: 1}", "target_error"), ("temperature: 300", "temperature"),
    ],
)  # fmt: skip
def test_a_wrong_setting_names_field_and_line(folder, settings, words):
    with pytest.raises(InvalidInputError, match=rf"campaign\.yaml, line 10: method\.settings\.{words}") as error:
        read(folder, settings=settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "temperatures",
    ["[1:30]", "[true]", "[.nan]", "[.inf]", "[300, 3e2]", "[yes]", "300", "[[300]]", "[2026-01-01]", "[-1]"],
)
def test_a_wrong_temperature_names_field_and_line(folder, temperatures):
    with pytest.raises(InvalidInputError, match=r"campaign\.yaml, line [16]: temperatures_K"):
        read(folder, temperatures=temperatures)


@pytest.mark.parametrize(
    ("written", "found"), [("3e2", 300.0), ("0300", 300.0), (".5", 0.5), ("'300'", 300.0), ("0x10", 16.0)]
)
def test_numbers_are_numbers(folder, written, found):
    assert read(folder, temperatures=f"[{written}]").temperatures_K == [found]


@pytest.mark.parametrize("word", ["no", "No", "off", "false", "n"])
def test_words_for_no_are_false_for_a_boolean_field(folder, word):
    text = TEXT.replace("relax: false", f"relax: {word}")
    assert next(tasks(read(folder, text))).maker.relax_maker is None


@pytest.mark.parametrize(
    ("line", "again"),
    [
        ("name: salts", "name: sugars"), ("  NaCl: {{file: NaCl.cif}}", "  NaCl: {{file: again.cif}}"),
        ("  change: {transformation}", "  change: {{Na: Li}}"),
        ("  kind: thermodynamic-integration", "  kind: switching"),
        ("temperatures_K: {temperatures}", "temperatures_K: [400]"), ("resources:", "resources: {{}}"),
    ],
)  # fmt: skip
def test_a_key_twice_is_refused_with_both_lines(folder, line, again):
    text = TEXT.replace(line, f"{line}\n{again}") if not line.endswith(":") else TEXT + again
    number = text.splitlines().index(again) + 1
    key = again.strip().partition(":")[0]
    with pytest.raises(InvalidInputError, match=rf"campaign\.yaml, line {number}: .*\b{key}\b"):
        read(folder, text)


def test_duplicates_under_two_names_are_refused(folder):
    for other in ("{{Na: K}}", "{{Na: {{K: 1}}}}", "{{Na: {{K: 1.0}}}}"):
        with pytest.raises(InvalidInputError, match="change and other"):
            read(folder, TEXT.replace("  change: {transformation}", f"  change: {{transformation}}\n  other: {other}"))
    twice = read(folder, TEXT.replace("structures:", "structures:\n  same: {{file: again.cif}}"))
    with pytest.raises(InvalidInputError, match="same and NaCl"):
        next(tasks(twice))


def test_too_few_samples_are_refused_before_anything_is_submitted(folder):
    for n in (1, 9, 10, 19, 39):
        with pytest.raises(InvalidInputError, match=f"n_production_steps = {n} "):
            next(tasks(read(folder, settings=f"n_production_steps: {n}"))).flow()
    next(tasks(read(folder, settings="n_production_steps: 40"))).flow()


def test_a_large_campaign_is_checked_before_its_first_task_is_added(shared_database, folder):
    text = TEXT.replace("  change: {transformation}", "  change: {transformation}\n  gold: {{Na: Au}}")
    campaign = read(folder, text, temperatures=str(list(range(300, 420))), settings="n_production_steps: 40")
    with pytest.raises(InvalidInputError, match=r"\bAu\b"):
        submit_campaign(shared_database, campaign, tasks(campaign))
    assert shared_database.launchpad.get_fw_ids() == []


@pytest.mark.parametrize(
    ("right", "wrong", "line"),
    [
        ("structures:\n", "structure:\n", 2),
        ("file:", "fil:", 3),
        ("temperatures_K", "temperature_K", 6),
        ("n_windows", "n_window", 10),
        ("device", "devise", 11),
        ("kinds:", "kind:", 14),
    ],
)
def test_a_misspelt_field_is_named_with_a_suggestion(folder, right, wrong, line):
    with pytest.raises(InvalidInputError, match=f"line {line}: .*no such field") as error:
        read(folder, TEXT.replace(right, wrong))
    assert str(error.value).endswith(f"did you mean {right.strip().rstrip(':')}?")


def test_a_misspelt_queue_option_is_noted(folder):
    with pytest.warns(AlchemflowsWarning, match="waltime.*walltime"):
        read(folder, queue="waltime: '24:00:00'")
    with warnings.catch_warnings():
        warnings.simplefilter("error", AlchemflowsWarning)
        read(folder, queue="walltime: '24:00:00', my_own_option: 3")


def test_a_field_unlike_any_other_is_refused_with_those_that_exist(folder):
    with pytest.raises(InvalidInputError, match=r"line 11: potential\.xyz: .*name.*device"):
        read(folder, TEXT.replace("device: cpu", "xyz: cpu"))


def test_relaxations_come_before_jobs_that_share_a_batch():
    alone, together = Resources(priority=3), Resources(priority=3, jobs_per_batch=4)
    assert alone.batch("key") == {} and together.batch(None) == {}
    assert together.batch("key") == {"batch": {"key": "key", "n_jobs": 4}}
    priorities = [each.spec(kind)["_priority"] for each in (alone, together) for kind in ("relaxation", "sampling")]
    assert priorities == [3, 3, 4, 3]
    chosen = Resources(jobs_per_batch=4, kinds={"relaxation": JobResources(priority=-1)})
    assert chosen.spec("relaxation")["_priority"] == -1
