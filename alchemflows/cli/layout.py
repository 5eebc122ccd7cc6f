"""Tables that fit the terminal without cutting a number or a formula."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

#: Columns of a pipe or a file: no line is broken there.
_UNLIMITED = 10_000


def plain_console(*, stderr: bool = False) -> Console:
    """Return the console for stdout or stderr: as wide as the terminal (or COLUMNS); pipes and files break no line."""
    stream = sys.stderr if stderr else sys.stdout
    in_terminal = (stream is not None and stream.isatty()) or "COLUMNS" in os.environ
    return Console(stderr=stderr, width=None if in_terminal else _UNLIMITED)


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout; numbers that are not finite are null."""
    from pydantic_core import to_json

    print(to_json(value, indent=1, inf_nan_mode="null").decode())


def counted(n: int, noun: str) -> str:
    """Return a number with its noun, such as "1 job" or "2 jobs"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def hanging(item: str, width: int) -> str:
    """Return an item of a list, such as "  - text", in lines of a width; those after the first begin below its text."""
    indent = " " * (item.index("- ") + 2)
    return textwrap.fill(item, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


class ResultTable(Table):
    """A table with one line per row; if that is wider than the terminal, each row becomes a list of its cells.

    Columns come closer if the table is otherwise too wide. Title and caption are written above and below it, as wide as
    the terminal.

    Parameters
    ----------
    title
        Text above the table.
    n_keys
        Number of first columns that identify a row, such as temperature and pressure. If there are any and at least
        two rows, a wide table is divided into narrower ones that repeat these columns. If these are too wide and there
        are at least two such columns, the cells of the first become headings of tables with the others.
    **settings
        Settings of rich's table.
    """

    def __init__(self, title: str, *, n_keys: int = 0, **settings: Any) -> None:
        super().__init__(box=box.SIMPLE_HEAD, pad_edge=False, **{"padding": (0, 1)} | settings)
        self.heading = title
        self.n_keys = n_keys

    def add_column(self, *arguments: Any, **settings: Any) -> None:
        """Add a column, whose cells are never broken."""
        super().add_column(*arguments, **{"no_wrap": True} | settings)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.heading:
            yield Text(self.heading, style="bold")
        caption, padding = self.caption, self.padding
        self.caption = None
        try:
            if not self._fits(console, options):
                self.padding = (0, 0)
            if self._fits(console, options):
                yield from super().__rich_console__(console, options)
            else:
                yield from self._divided(console, options) or self._grouped(console, options) or self._records()
        finally:
            self.caption, self.padding = caption, padding
        if caption:
            yield caption if isinstance(caption, Text) else Text(str(caption))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(options.max_width, options.max_width)

    def _fits(self, console: Console, options: ConsoleOptions) -> bool:
        unlimited = options.update(width=_UNLIMITED)
        return super().__rich_measure__(console, unlimited).maximum <= options.max_width

    def _divided(self, console: Console, options: ConsoleOptions) -> list[ResultTable]:
        """Return tables that fit, each with the first columns and some of the others; none if there are none."""
        if not self.n_keys or self.row_count < 2:
            return []
        keys, others = self.columns[: self.n_keys], self.columns[self.n_keys :]
        groups: list[list[Column]] = []
        for part in _with_errors(others):
            if groups and _of_columns([*keys, *groups[-1], *part])._fits(console, options):
                groups[-1].extend(part)
            else:
                groups.append(part)
        tables = [_of_columns([*keys, *group]) for group in groups]
        return tables if all(table._fits(console, options) for table in tables) else []

    def _grouped(self, console: Console, options: ConsoleOptions) -> list[Text | ResultTable]:
        """Return a table that fits for each cell of the first column, after this cell; none if there are none."""
        if self.n_keys < 2 or self.show_footer:
            return []
        names = [_plain(cell) for cell in self.columns[0].cells]
        parts: list[Text | ResultTable] = []
        for name, rows in groupby(range(len(names)), key=names.__getitem__):
            table = _of_columns(self.columns[1:], list(rows))
            table.n_keys, table.padding = self.n_keys - 1, (0, 0)
            if not table._fits(console, options) and not table._divided(console, options):
                return []
            table.padding = (0, 1)
            parts += [Text(f"{_plain(self.columns[0].header)}: {name}", overflow="fold"), table]
        return parts

    def _records(self) -> Iterator[Text]:
        """Yield each row as lines of heading and cell, with an empty line between rows.

        A standard error follows its value in the same line.
        """
        headings = [_plain(column.header).replace("-\n", "").replace("\n", " ") for column in self.columns]
        width = max(map(len, headings), default=0)
        rows = list(zip(*([_plain(cell) for cell in column.cells] for column in self.columns), strict=True))
        if self.show_footer:
            rows.append(tuple(_plain(column.footer) for column in self.columns))
        for row in rows:
            yield Text("")
            lines: list[str] = []
            for heading, cell, previous in zip(headings, row, ("", *row[:-1]), strict=True):
                if cell and previous and heading == "±":
                    lines[-1] += f" ± {cell}"
                elif cell:
                    lines.append(f"{heading:<{width}}  {cell}")
            yield from (Text(line, overflow="fold") for line in lines)
        yield Text("")


def _with_errors(columns: Sequence[Column]) -> list[list[Column]]:
    """Return each column with that of its standard errors, which follows it."""
    parts: list[list[Column]] = []
    for column in columns:
        if parts and column.header == "±":
            parts[-1].append(column)
        else:
            parts.append([column])
    return parts


def _of_columns(columns: Sequence[Column], rows: Sequence[int] | None = None) -> ResultTable:
    """Return a table without title of columns, and of some rows, of another one."""
    table = ResultTable("")
    for column in columns:
        table.add_column(column.header, justify=column.justify)
    cells = list(zip(*(column.cells for column in columns), strict=True))
    for k in range(len(cells)) if rows is None else rows:
        table.add_row(*cells[k])
    return table


def _plain(cell: Any) -> str:
    return cell.plain if isinstance(cell, Text) else Text.from_markup(str(cell)).plain
