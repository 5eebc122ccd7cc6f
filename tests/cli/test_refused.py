"""What the commands refuse before they do anything: options given twice, options without effect, files not writable."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from ase.build import bulk
from command_line import assert_one_line
from pymatgen.core import Lattice, Structure

from alchemflows import cli
from alchemflows.arguments import as_structure
from alchemflows.cli.commands import app
from alchemflows.cli.inputs import potential_of
from alchemflows.errors import AlchemflowsError, InvalidInputError, PotentialError
from alchemflows.output_file import check_folder, check_writable, make_folder
from alchemflows.report.campaign import check_report
from alchemflows.results.export import SUFFIXES, check_export
from alchemflows.schemas.potential_names import mace_names

DEMO = ("--potential", "mace-demo")
TI = ("ti", "NaCl.cif", "Na:K", "-T", 300, *DEMO)
ABSOLUTE = ("frenkel-ladd", "NaCl.cif", "-T", 300, *DEMO)
SWEEP = ("sweep", "NaCl.cif", *DEMO)
OPTIMIZE = ("optimize", "NaCl.cif", "--choose", "Na:Na,K", *DEMO)
ORDER = ("order", "mixed.cif", "--supercell", 1, 1, 1, *DEMO)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """Return a folder with structures."""
    folder = tmp_path_factory.mktemp("inputs")
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    cell.to(str(folder / "NaCl.cif"))
    cell.replace_species({"Na": {"Na": 0.5, "K": 0.5}})
    cell.to(str(folder / "mixed.cif"))
    as_structure(bulk("Fe")).to(str(folder / "Fe.vasp"), fmt="poscar")
    return folder


@pytest.fixture
def refused(inputs, tmp_path, monkeypatch):
    """Return what runs a command that must end before it connects to a database; it returns the error."""
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)

    def no_database(*_: Any) -> None:
        raise AssertionError("a database was connected")

    monkeypatch.setattr("alchemflows.storage.database.connect", no_database)

    def run(*arguments: Any) -> str:
        with pytest.raises(AlchemflowsError) as error:
            app([str(argument) for argument in arguments], standalone_mode=False)
        assert "\n" not in str(error.value)
        return str(error.value)

    return run


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*TI, "Na:Li"), ["Na", "twice"]),
        ((*TI, "--estimate", "--submit"), ["--estimate", "--submit"]),
        (("ti", ".", "Na:K", "-T", 300, *DEMO), ["folder"]),
        ((*OPTIMIZE, "--target", "a_A=6", "--dtype", "float32"), ["--dtype", "float64"]),
        ((*TI, "Na:K"), ["Na", "twice"]),
        ((*TI, "Cl:Br", "Cl:I"), ["Cl", "twice"]),
        (("switch", "NaCl.cif", "Na:K", "Na:Li", "-T", 300, *DEMO), ["Na", "twice"]),
        ((*SWEEP, "Na:K", "Na:Li"), ["Na", "twice"]),
        ((*TI, "-T", 400), ["--temperature", "twice"]),
        ((*TI, "--temperature", 300), ["--temperature", "twice"]),
        ((*TI, "--relax", "--no-relax"), ["--relax", "twice"]),
        ((*TI, "--potential", "sevennet-0"), ["--potential", "twice"]),
        ((*TI, "--windows", 3, "--windows=4"), ["--windows", "twice"]),
        ((*TI, "--site", 0, "--site", 0), ["site", "twice"]),
        ((*ABSOLUTE, "--spring", "Na:1", "--spring", "Na:2"), ["Na", "twice"]),
        ((*ABSOLUTE, "--spring", "Na:1", "--spring", "Cl:1", "--spring", "Na:1"), ["Na", "twice"]),
        ((*ABSOLUTE, *("--supercell", "1x1x1", "--supercell", "2x1x1") * 2), ["supercell", "twice"]),
        (
            ("temperature-sweep", "NaCl.cif", "-T", 300, "--from", 400, "--to", 600, *DEMO),
            ["--temperature", "300", "400"],
        ),
        (("temperature-sweep", "NaCl.cif", "-T", 300, "--from", 400, "--to", 200, *DEMO), ["--from", "400"]),
        (("pressure-sweep", "NaCl.cif", "-T", 300, "--from", 1, "--to", 2, *DEMO), ["--pressure", "0.000101325"]),
        (("pressure-sweep", "NaCl.cif", "-T", 300, "--from", 2, "--to", 1, *DEMO), ["--from", "--to"]),
        (("liquid", "NaCl.cif", "-T", 1200, "--heating-temperature", 900, *DEMO), ["heating", "1200", "900"]),
        (
            ("liquid", "NaCl.cif", "-T", 1200, "--reference-density", 5, *DEMO),
            ["--reference-density", "at most 4", "5"],
        ),
        (("melting", "NaCl.cif", "--from", 1300, "--to", 900, *DEMO), ["--from", "--to"]),
        (("melting", "NaCl.cif", "--from", 900, "--to", 1300, "--heating-temperature", 1000, *DEMO), ["1300", "1000"]),
        (("liquid", "NaCl.cif", "-T", 1200, "--cell-steps", 30, *DEMO), ["30", "too small"]),
        (("phases", "a=NaCl.cif", "a=NaCl.cif", "-T", 300, *DEMO), ["a"]),
        (("phases", "a=NaCl.cif", "-T", 300, "-T", 300.0, *DEMO), ["temperature", "twice"]),
        ((*SWEEP, "--choose", "Na:Na,K", "--choose", "Na:Li,K"), ["Na", "twice"]),
        ((*SWEEP, "--choose", "Na:Na,K,Na"), ["Na"]),
        ((*OPTIMIZE, "--target", "a_A=5", "--target", "a_A=6"), ["a_A", "two targets"]),
        ((*OPTIMIZE, "--target", "a_A=5", "--least", "a_A"), ["a_A", "two targets"]),
        ((*OPTIMIZE, "--least", "a_A", "--largest", "a_A"), ["a_A", "two targets"]),
        ((*OPTIMIZE, "--target", "a_A=5", "--bound", "K=0:0.1", "--bound", "K=0:0.2"), ["K", "twice"]),
        ((*ORDER, "--wave", "a=0,0,0.5", "--wave", "a=0,0.5,0"), ["a", "twice"]),
        ((*ORDER, "--wave", "rocksalt=0,0,0.5", "--perovskite"), ["rocksalt", "twice"]),
        (("db", "init", "users", "--user", "ada=reader", "--user", "ada=worker"), ["ada", "twice"]),
        (("supervise", "--once", "--once"), ["--once", "twice"]),
        (("worker", "--sleep", 1, "--sleep", 2), ["--sleep", "twice"]),
    ],
)
def test_repeated_values_are_refused(refused, monkeypatch, arguments, words):
    monkeypatch.setenv("ALCHEMFLOWS_ADMIN_URI", "mongodb://127.0.0.1:9")
    message = refused(*arguments)
    assert all(word in message for word in words), message


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))
    if not hasattr(command, "commands"):
        yield path, command


COMMANDS = dict(commands(typer.main.get_command(app)))
OPTIONS_OF_ALL = {
    (" ".join(path), name): option
    for path, command in COMMANDS.items()
    for option in command.params
    if option.param_type_name == "option" and option.name != "help"
    for name in (*option.opts, *option.secondary_opts)
}
OPTIONS = [key for key, option in OPTIONS_OF_ALL.items() if not option.multiple]


@pytest.mark.parametrize(("path", "name"), OPTIONS)
def test_every_option_of_one_value_is_refused_twice(path, name):
    command = COMMANDS[tuple(path.split())]
    option = next(each for each in command.params if name in (*each.opts, *each.secondary_opts))
    values = [] if getattr(option, "is_flag", False) else ["1"] * option.nargs
    with pytest.raises(InvalidInputError, match=rf"{option.opts[0]}\b"):
        command.make_context(path, [name, *values, option.opts[0], *values])
    assert len(OPTIONS) > 150


REPEATS_OF_CELLS = [(path, name) for path, name in OPTIONS_OF_ALL if name in ("--supercell", "--size")]
#: Options that are numbers; `combine` has ranges, which it checks itself.
TEMPERATURES = [(path, name) for path, name in OPTIONS_OF_ALL if name in ("-T", "--temperature") and path != "combine"]


@pytest.mark.parametrize("words", ["2x0x2", "2 0 2", "-1 2 2", "2x2", "2 2", "2x2xa", "wrong"])
@pytest.mark.parametrize(("path", "name"), REPEATS_OF_CELLS)
def test_wrong_repeats_of_a_cell_are_named_by_their_option(path, name, words):
    with pytest.raises(InvalidInputError, match=rf"^{name} must be three numbers .*; got '{words.split()[0]}"):
        COMMANDS[tuple(path.split())].make_context(path, [name, *words.split()])
    assert len(REPEATS_OF_CELLS) > 10


@pytest.mark.parametrize("value", ["-300", "0", "nan", "inf"])
@pytest.mark.parametrize(("path", "name"), TEMPERATURES)
def test_a_wrong_temperature_is_named_by_its_option(path, name, value):
    with pytest.raises(InvalidInputError, match=rf"^--temperature must .* K; got {value}$"):
        COMMANDS[tuple(path.split())].make_context(path, [name, value])
    assert len(TEMPERATURES) > 20


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("combine", "1a2b3c4d", "5e6f7a8b", "-T", "-100:300:100"), ["--temperature", "-100"]),
        ((*TI, "--plot", "x.foo"), ["x.foo"]),
        ((*TI, "--plot", "nowhere/x.png"), ["nowhere"]),
        ((*TI, "--convergence-plot", "nowhere/x.png"), ["nowhere"]),
        ((*TI, "--plot", "folder.png"), ["folder.png", "folder"]),
        ((*TI, "--plot", "x.png", "--convergence-plot", "./x.png"), ["x.png", "same file"]),
        ((*TI, "--submit", "--plot", "x.png"), ["x.png", "--submit"]),
        ((*ABSOLUTE, "--submit", "--plot", "x.png"), ["x.png", "--submit"]),
        (("quickstart", "--plot", "file/x.png"), ["file"]),
        (("export", "windows", "nowhere/x.csv"), ["nowhere"]),
        (("export", "windows", "x.xls"), ["x.xls"]),
        (("campaign", "report", "salts", "nowhere/x.html"), ["nowhere"]),
        (("campaign", "report", "salts", "x.pdf"), ["x.pdf"]),
        (("db", "init", "file/users"), ["file"]),
        (("worker", "--folder", "file/launches"), ["file"]),
        (("worker", "--folder", "/proc/nowhere"), ["/proc/nowhere"]),
        (("worker", "--fworker", "nowhere.yaml"), ["nowhere.yaml"]),
        ((*TI, "--production", 10, "--interval", 10), ["at least 4"]),
        ((*TI, "--production", 39), ["at least 4"]),
        ((*ABSOLUTE, "--cell-steps", 30), ["at least 4"]),
        (("frenkel-ladd", "Fe.vasp", "-T", 300, *DEMO), ["1 atom", "--supercell"]),
        (("frenkel-ladd", "Fe.vasp", "-T", 300, "--supercell", "1x1x3", *DEMO), ["periodic image", "--supercell"]),
        (("ti", "Fe.vasp", "Fe:Al", "-T", 300, *DEMO), ["1 atom", "--supercell"]),
        (("ti", "Fe.vasp", "Fe:Al", "-T", 300, "--supercell", 1, 1, 3, *DEMO), ["periodic image", "--supercell"]),
        (("switch", "Fe.vasp", "Fe:Al", "-T", 300, *DEMO), ["1 atom", "--supercell"]),
        (("vacancy", "Fe.vasp", "-T", 300, *DEMO), ["1 atoms"]),
        (("vacancy", "Fe.vasp", "-T", 300, "--supercell", 1, 1, 2, *DEMO), ["periodic image", "--supercell"]),
        (("phases", "bcc=Fe.vasp", "-T", 300, *DEMO), ["1 atom", "--supercell"]),
        ((*TI, "--cell", "axes"), ["--cell", "--pressure"]),
        ((*TI, "--replica-exchange"), ["--windows-per-job"]),
        (("switch", "NaCl.cif", "Na:K", "-T", 300, "--constant-volume", "--pressure", 1, *DEMO), ["--pressure"]),
        ((*ABSOLUTE, "--constant-volume", "--cell", "axes"), ["--cell"]),
        ((*ABSOLUTE, "--constant-volume", "--cell-steps", 100), ["--cell-steps"]),
        ((*SWEEP, "Na:K", "--intervals", 3), ["--intervals"]),
        ((*SWEEP, "--choose", "Na:Na,K", "--points", 3), ["--points"]),
        ((*SWEEP, "--choose", "Na:Na,K", "--until", 0.5), ["--until"]),
        ((*ORDER, "--distinct", "--starts", 3), ["--starts"]),
        (("results", "--json", "--csv"), ["--json", "--csv"]),
        (("supervise", "--max-jobs", 3), ["--max-jobs", "--qadapter"]),
        (("supervise", "--once", "--interval", 3), ["--interval", "--once"]),
    ],
)
def test_options_that_would_fail_late_or_have_no_effect_are_refused(refused, monkeypatch, arguments, words):
    monkeypatch.setenv("ALCHEMFLOWS_ADMIN_URI", "mongodb://127.0.0.1:9")
    message = refused(*arguments)
    assert all(word in message for word in words), message
    assert not list(Path().glob("*.csv"))


@pytest.mark.parametrize(
    ("arguments", "similar"),
    [
        (("results", "--kind", "laddr"), "ladder"),
        (("export", "sampls", "x.csv"), "samples"),
        (("frames", "export", "1a2b3c4d", "x.xyz", "--end", "finl"), "final"),
        (("reproduce", "fig22", "--small"), "fig2"),
        (("example", "structurs"), "structures"),
        ((*TI, "--pressure", 0, "--cell", "isotropc"), "isotropic"),
        ((*TI, "--spacing", "evn"), "even"),
        ((*TI, "--ignore", "mass"), "masses"),
        ((*TI, "--dtype", "float23"), "float32"),
        (("switch", "NaCl.cif", "Na:K", "-T", 300, "--schedule", "liner", *DEMO), "linear"),
        (("mc", "mixed.cif", "-T", 300, "--proposal", "informd", *DEMO), "informed"),
        ((*SWEEP, "Na:K", "--coupling", "pared"), "paired"),
        ((*OPTIMIZE, "--target", "a_A=5", "--method", "projectd"), "projected"),
        ((*OPTIMIZE, "--target", "volume=5"), "volume_A3"),
    ],
)
def test_a_misspelt_value_is_named_with_a_suggestion(refused, arguments, similar):
    message = refused(*arguments)
    assert message.endswith(f"; did you mean {similar}?") and "Value error" not in message


def test_a_value_unlike_all_others_has_no_suggestion(refused):
    assert "did you mean" not in refused("export", "everything-else", "x.csv")


def test_a_fworker_file_with_a_key_twice_is_refused(refused, tmp_path):
    (tmp_path / "fworker.yaml").write_text("name: gpu\ncategory: gpu\nname: cpu\n")
    assert "fworker.yaml, line 3: the key name" in refused("worker", "-w", "fworker.yaml")
    assert "fworker.yaml, line 3: the key name" in refused("supervise", "-q", "fworker.yaml", "-w", "fworker.yaml")


def test_files_are_written_where_they_can_be(tmp_path, monkeypatch):
    (tmp_path / "old.csv").touch()
    for name in ("old.csv", "new.csv"):
        check_writable(tmp_path / name)
    check_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    for suffix in SUFFIXES:
        check_export(tmp_path / f"x{suffix}")
    check_report(tmp_path / "x.html")
    # As for a user who is not root, whom nothing is read-only for.
    monkeypatch.setattr(os, "access", lambda *_: False)
    for check in (check_writable, check_folder, make_folder):
        with pytest.raises(InvalidInputError, match="read-only"):
            check(tmp_path / "new")
    with pytest.raises(InvalidInputError, match="read-only"):
        check_export(tmp_path / "x.csv")
    with pytest.raises(InvalidInputError, match="read-only"):
        check_report(tmp_path / "x.html")


# In processes of their own, since jobflow and FireWorks read their configuration when they are imported.

SECRET = "mongodb://user:pre@Winter2026/x@host/db"


@pytest.mark.parametrize("place", ["docs", "data", "uri-store", "launchpad", "admin"])
def test_a_password_that_is_not_encoded_is_recognised_and_not_shown(run, tmp_path, place):
    path = tmp_path / "jobflow.yaml"
    kind = "MongoURIStore" if place == "uri-store" else "MongoStore"
    docs, data = (
        SECRET if place in names else "mongodb://127.0.0.1:9/db" for names in (("docs", "uri-store"), ("data",))
    )
    path.write_text(
        f"JOB_STORE:\n  docs_store: {{type: {kind}, collection_name: outputs, uri: '{docs}', database: db}}\n"
        f"  additional_stores:\n    data: {{type: GridFSStore, collection_name: blobs, uri: '{data}', database: db}}\n"
    )
    if place == "launchpad":
        folder = tmp_path / ".fireworks"
        folder.mkdir()
        (folder / "FW_config.yaml").write_text(f"LAUNCHPAD_LOC: {folder / 'my_launchpad.yaml'}\n")
        (folder / "my_launchpad.yaml").write_text(f"uri_mode: true\nhost: '{SECRET}'\nname: db\n")
    if place == "admin":
        done = run("db", "init", "users", ALCHEMFLOWS_ADMIN_URI=SECRET)
    else:
        done = run("results", JOBFLOW_CONFIG_FILE=str(path), ALCHEMFLOWS_DATABASE_TIMEOUT_S="1")
    if place == "launchpad":  # the store, which comes first, does not answer; the file itself is tested elsewhere
        assert_one_line(done, "127.0.0.1:9")
    else:
        assert_one_line(done, "percent-encode", "administrator" if place == "admin" else "jobflow.yaml, line ")
    for part in ("Winter2026", "Wint", "2026", "pre@"):
        assert part not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["my_launchpad.yaml", "FW_config.yaml"])
def test_fireworks_in_the_home_folder_is_not_passed_over(run, tmp_path, name):
    folder = tmp_path / ".fireworks"
    folder.mkdir()
    if name == "FW_config.yaml":
        (folder / name).write_text(f"LAUNCHPAD_LOC: {tmp_path / 'elsewhere.yaml'}\n")
    else:
        (folder / name).write_text("host: mongodb://127.0.0.1:9/db\nname: db\nuri_mode: true\n")
    where = "elsewhere.yaml" if name == "FW_config.yaml" else "my_launchpad.yaml"
    for command in (("results",), ("worker", "--until-idle")):
        assert_one_line(run(*command), where, "JOBFLOW_CONFIG_FILE")


def test_fireworks_in_the_current_folder_is_not_passed_over(run, tmp_path):
    (tmp_path / "my_launchpad.yaml").write_text("host: mongodb://127.0.0.1:9/db\nname: db\nuri_mode: true\n")
    assert_one_line(run("results"), "my_launchpad.yaml", "JOBFLOW_CONFIG_FILE")


def test_the_traceback_of_a_mistake_holds_no_connection_string(monkeypatch, capsys):
    def mistaken() -> None:
        raise RuntimeError(f"cannot use {SECRET} at all") from ValueError("pre@Winter2026/x@host")

    monkeypatch.setattr(cli, "_import_commands", lambda: mistaken)
    with pytest.raises(SystemExit) as end:
        cli.main()
    shown = capsys.readouterr().err
    assert end.value.code == 1 and "Traceback" in shown and "RuntimeError: cannot use mongodb://…" in shown
    assert "Winter2026" not in shown and "pre@" not in shown


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("-T", "300K"), ("'300K'", " K,")),
        (("-T", 300, "-T", "27C"), ("'27C'", " K,")),
        (("-T", 300, "--pressure", "1bar"), ("'1bar'", " GPa,")),
        (("-T", 300, "--windows", "5.5"), ("'5.5'", "whole number")),
    ],
)
def test_a_number_with_a_unit_is_refused_with_the_unit_of_the_option(arguments, named):
    command = typer.main.get_command(app).commands["phases" if arguments.count("-T") > 1 else "ti"]
    with pytest.raises(typer.BadParameter) as refused:
        command.make_context("x", ["NaCl.cif", "Na:K", *map(str, arguments)])
    assert all(part in refused.value.message for part in named)


def test_an_unknown_potential_is_refused_by_its_name_before_torch_is_needed(inputs, monkeypatch):
    monkeypatch.chdir(inputs)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(PotentialError, match=r"'mace-demoo'.*mace-demo\b"):
        potential_of("mace-demoo", "float32", "cpu")
    assert potential_of("medium-mpa-0", "float32", "cpu").name == "medium-mpa-0"


def test_names_of_foundation_models_are_those_of_mace():
    """They are read from the source of mace-torch, without its import."""
    from mace.calculators import foundations_models

    assert list(mace_names()) == list(foundations_models.mace_mp_urls)
