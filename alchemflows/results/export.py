"""Write frames to a file: Parquet, CSV or JSON, one part at a time, so that no table needs to fit into memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from alchemflows.errors import InvalidInputError
from alchemflows.output_file import check_writable

SUFFIXES = (".parquet", ".csv", ".json")
#: Minimum number of rows of a written part, because Parquet keeps an entry in memory for each part.
ROWS_AT_ONCE = 100_000


def check_export(path: Path) -> None:
    """Check that a table can be written to a file.

    Raises
    ------
    InvalidInputError
        If the extension is not one of :data:`SUFFIXES`, or the file cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise InvalidInputError(f"{path.name}: unknown extension; use one of {', '.join(SUFFIXES)}")
    check_writable(path)


def export(frames: Iterable[pd.DataFrame], path: Path) -> int:
    """Write the parts of one table to a file.

    Parameters
    ----------
    frames
        Parts of the table, with the same columns and dtypes.
    path
        Path of the file; its extension gives the format. JSON is a list with one object per row. An existing file is
        replaced when the whole table has been written.

    Returns
    -------
    The number of rows.

    Raises
    ------
    InvalidInputError
        For the same reasons as in :func:`check_export`, or if there are no rows.
    """
    check_export(path)
    write = {".parquet": _parquet, ".csv": _csv, ".json": _json}[path.suffix]
    n_rows = 0

    def counted() -> Iterator[pd.DataFrame]:
        nonlocal n_rows
        for frame in _joined(frames):
            n_rows += len(frame)
            yield frame

    temporary = path.with_name(f".{path.name}.part")
    try:
        write(counted(), temporary)
        if not n_rows:
            raise InvalidInputError(f"{path.name} is not written because the table has no rows")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return n_rows


def _joined(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Yield the frames joined to parts of at least :data:`ROWS_AT_ONCE` rows, except for the last."""
    waiting: list[pd.DataFrame] = []
    for frame in frames:
        waiting.append(frame)
        if sum(map(len, waiting)) >= ROWS_AT_ONCE:
            yield pd.concat(waiting, ignore_index=True)
            waiting = []
    if waiting:
        yield pd.concat(waiting, ignore_index=True)


def _parquet(frames: Iterator[pd.DataFrame], path: Path) -> None:
    first = next(frames, pd.DataFrame())
    schema = pa.Schema.from_pandas(first, preserve_index=False)
    with pq.ParquetWriter(path, schema) as writer:
        writer.write_table(pa.Table.from_pandas(first, schema, preserve_index=False))
        for frame in frames:
            writer.write_table(pa.Table.from_pandas(frame, schema, preserve_index=False))


def _csv(frames: Iterator[pd.DataFrame], path: Path) -> None:
    with _text(path) as file:
        for k, frame in enumerate(frames):
            frame.to_csv(file, header=k == 0, index=False)


def _json(frames: Iterator[pd.DataFrame], path: Path) -> None:
    with _text(path) as file:
        between = "["
        for frame in frames:
            if len(frame):
                # pandas writes at most 15 decimals.
                rows = frame.to_json(orient="records", force_ascii=False, double_precision=15)
                file.write(between + rows[1:-1])
                between = ",\n"
        file.write("]\n")


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    with path.open("w", encoding="utf-8", newline="") as file:
        yield file
