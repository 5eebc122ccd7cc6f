"""Tables in narrow terminals."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from alchemflows.cli.layout import hanging
from alchemflows.cli.tables import empty_table

HEADINGS = ("T (K)", *(f"quantity {k}" for k in range(6)))


def lines_of(width: int, *, n_rows: int = 4, n_keys: int = 1) -> list[str]:
    """Return the lines of a table of numbers, without empty ones."""
    table = empty_table("title", HEADINGS, n_keys=n_keys)
    for row in range(n_rows):
        table.add_row(f"{100 * (row + 1)}", *(f"{row}.{k} ± 0.1" for k in range(6)))
    table.caption = "caption"
    stream = StringIO()
    Console(file=stream, width=width).print(table)
    return [line.rstrip() for line in stream.getvalue().splitlines() if line.strip()]


@pytest.mark.parametrize(("width", "n_parts"), [(200, 1), (60, 2), (40, 3), (22, 6)])
def test_a_wide_table_is_divided_and_repeats_its_keys(width, n_parts):
    lines = lines_of(width)
    assert lines[0] == "title" and lines[-1] == "caption"
    assert all(len(line) <= width for line in lines)
    assert sum(line.split()[0] == "300" for line in lines) == n_parts
    assert sum(line.split()[0] == "200" for line in lines_of(width, n_rows=2)) == n_parts
    text = " ".join(lines)
    assert all(text.count(heading) == 1 for heading in HEADINGS[1:])
    assert all(text.count(f"{row}.{k} ± 0.1") == 1 for row in range(4) for k in range(6))


def first_line_of(width: int) -> str:
    table = empty_table("", ("T (K)", "energy (eV)", "±"))
    table.add_row("300", "-1.25", "0.01")
    stream = StringIO()
    Console(file=stream, width=width).print(table)
    return next(line for line in stream.getvalue().splitlines() if line.strip())


@pytest.mark.parametrize("width", range(24, 32))
def test_columns_come_closer_before_a_table_becomes_a_list(width):
    line = first_line_of(width)
    assert line.split() == ["T", "(K)", "energy", "(eV)", "±"] and len(line) <= width
    assert len(first_line_of(28)) == 28 and len(first_line_of(27)) == 24
    assert first_line_of(23).split() == ["T", "(K)", "300"]


def test_in_a_list_of_cells_an_error_follows_its_value():
    table = empty_table("", ("point", "energy (eV)", "±", "volume", "±"))
    table.add_row("900 K", "-1.25", "0.01", "", "0.3")
    stream = StringIO()
    Console(file=stream, width=27).print(table)
    lines = [line.split() for line in stream.getvalue().splitlines() if line.strip()]
    assert ["energy", "(eV)", "-1.25", "±", "0.01"] in lines
    assert lines[-1] == ["±", "0.3"]  # no value before it


@pytest.mark.parametrize("width", [30, 36])
def test_a_divided_table_keeps_an_error_beside_its_value(width):
    table = empty_table("", ("", "eV", "±", "eV/atom", "±"), n_keys=1)
    for name in ("TI", "total"):
        table.add_row(name, "-0.12345", "0.00123", "-0.012345", "0.000123")
    stream = StringIO()
    Console(file=stream, width=width).print(table)
    lines = [line.split() for line in stream.getvalue().splitlines() if line.split()[:1] in (["TI"], ["total"])]
    numbers = (["-0.12345", "0.00123"], ["-0.012345", "0.000123"])
    assert lines == [[name, *pair] for pair in numbers for name in ("TI", "total")]


@pytest.mark.parametrize("width", [46, 60])
def test_a_first_key_that_is_too_long_becomes_a_heading(width):
    table = empty_table("title", ("member", "state", "G (eV)", "±", "overlaps"), left=(0, 1), n_keys=2)
    long = "module:Calculator(first_argument=1.0)"
    for member in ("short", long):
        for state in ("solid", "liquid"):
            table.add_row(member, f"{state} of a crystal", "-1.25000", "0.00125", "yes")
    console = Console(width=width, file=StringIO(), color_system=None)
    console.print(table)
    lines = [line.strip() for line in console.file.getvalue().splitlines() if line.strip()]
    assert [line for line in lines if line.startswith("member: ")] == ["member: short", f"member: {long}"]
    assert sum(line.startswith("solid of a crystal") and "-1.25000   0.00125" in line for line in lines) == 2
    assert all(len(line) <= width for line in lines) and not any(line.startswith("member  ") for line in lines)


def test_lines_of_an_item_begin_below_its_text():
    reason = "  - window λ = 0 has too few independent samples; sample longer"
    assert hanging(reason, 200) == reason
    lines = hanging(reason, 30).splitlines()
    assert len(lines) == 3 and all(len(line) <= 30 for line in lines)
    assert all(line.startswith("    ") and line[4] != " " for line in lines[1:])
    assert " ".join(line.strip() for line in lines) == reason.strip()


@pytest.mark.parametrize("settings", [{"n_rows": 1}, {"n_keys": 0}, {"width": 18}])
def test_other_wide_tables_are_lists_of_cells(settings):
    lines = lines_of(**{"width": 60} | settings)
    assert sum(line.startswith("quantity 5  0.5") for line in lines) == 1
