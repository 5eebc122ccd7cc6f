"""Commands for order and disorder, through FireWorks and a real MongoDB."""

from __future__ import annotations

import pytest
from command_line import assert_one_line
from pymatgen.core import Lattice, Structure


@pytest.fixture(scope="module")
def oxide(tmp_path_factory):
    path = tmp_path_factory.mktemp("oxide") / "mixed.cif"
    metal = {"Ce4+": 0.5, "Zr4+": 0.5}
    sites = [[0, 0, 0], [0.25, 0.25, 0.25]]
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.3), [metal, "O2-"], sites)
    cell.to(str(path))
    return path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--wave", "rocksalt"], ["rocksalt=0.5,0.5,0.5"]),
        (["--wave", "a=0.5,0,0", "--distinct"], ["--wave", "--distinct"]),
        (["--wave", "a=0.25,0,0"], ["0.25"]),
        (["--supercell", 0, 1, 1], ["supercell"]),
        (["--plot", "figure.doc", "--no-quasirandom"], [".png"]),
    ],
)
def test_bad_input_is_one_line(run_refused, oxide, arguments, words):
    assert_one_line(run_refused("order", oxide, "--supercell", 1, 1, 1, *arguments, "--potential", "mace-demo"), *words)


@pytest.mark.slow
def test_orders_of_a_file_with_partial_occupancies(run, oxide, tmp_path):
    """A CIF with oxidation states goes in as it is; its orders come out as a table and a figure."""
    done = run(
        "order", oxide, "--supercell", 1, 1, 1, "--distinct", "--random", 2, "--no-quasirandom",
        "--potential", "mace-demo", "--plot", tmp_path / "order.png",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for word in ("paired", "mean-field", "random 2", "alike)", "ordering energy", "meV/atom"):
        assert word in done.stdout
    assert (tmp_path / "order.png").read_bytes().startswith(b"\x89PNG")
