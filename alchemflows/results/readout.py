"""Return the contents of the database as pandas frames; column names include the units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import pandas as pd

from alchemflows.analysis.collect import collect
from alchemflows.free_energy import estimators
from alchemflows.free_energy.decorrelation import Decorrelated, decorrelate
from alchemflows.results import listing, query
from alchemflows.results.ladders import analysis, read_series, window_documents
from alchemflows.results.stored import Column
from alchemflows.schemas.free_energy import FreeEnergyDocument
from alchemflows.schemas.samples import WindowSeries
from alchemflows.storage.database import Database

#: Number of rows that are read before they are converted to a frame, which needs far less memory.
ROWS_AT_ONCE = 5000


def free_energies(database: Database, campaign: str | None = None, *, reanalysed: bool = False) -> pd.DataFrame:
    """Return free energies of all kinds, newest first.

    Parameters
    ----------
    database
        Database to read.
    campaign
        Name of a campaign; None for the whole database.
    reanalysed
        Whether to return the reanalysed free energies of ladders (``alchemflows reanalyse``) instead.

    Returns
    -------
    frame
        One row per result, with the columns :data:`~alchemflows.results.query.RESULT_FIELDS`. `kind` is ``ladder``,
        ``switching``, ``frenkel-ladd`` or ``vacancy``; columns that a kind does not have are empty.
    """
    kinds = list(query.KINDS.values())
    rows = query.free_energies(database, campaign=campaign, kinds=kinds, reanalysed=reanalysed)
    return _frame(rows, query.RESULT_FIELDS)


def all_results(database: Database, campaign: str | None = None) -> pd.DataFrame:
    """Return results of every kind, newest first.

    Parameters
    ----------
    database
        Database to read.
    campaign
        Name of a campaign; None for the whole database.

    Returns
    -------
    frame
        One row per result, with the columns :data:`~alchemflows.results.listing.LISTED_FIELDS`: those of
        :func:`free_energies`, and the main number of each result (`system`, `quantity`, `value`, `error`, `unit`).
    """
    return _frame(listing.results(database, campaign=campaign), listing.LISTED_FIELDS)


def windows(database: Database, campaign: str | None = None, *, where: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Return one row per window of each job; see :func:`alchemflows.results.query.windows`."""
    return pd.concat(window_frames(database, campaign, where=where), ignore_index=True)


def window_frames(
    database: Database, campaign: str | None = None, *, where: Mapping[str, Any] | None = None
) -> Iterator[pd.DataFrame]:
    """Yield the frame of :func:`windows` in parts; the first part may be empty."""
    rows = query.windows(database, campaign=campaign, where=where)
    part = list(islice(rows, ROWS_AT_ONCE))
    yield _frame(part, query.WINDOW_FIELDS)
    while part := list(islice(rows, ROWS_AT_ONCE)):
        yield _frame(part, query.WINDOW_FIELDS)


def window_samples(
    database: Database,
    campaign: str | None = None,
    *,
    where: Mapping[str, Any] | None = None,
    jobs: Sequence[str] | None = None,
) -> Iterator[tuple[dict[str, Any], WindowSeries]]:
    """Yield the row of each window, as in :func:`windows`, and its samples, which are read one window at a time.

    See :func:`alchemflows.results.query.windows` for the parameters.
    """
    store = database.samples()
    for row in query.windows(database, campaign=campaign, where=where, jobs=jobs):
        yield row, read_series(store, [row["samples"]])[row["samples"]].unpack()


def sample_frames(
    database: Database,
    campaign: str | None = None,
    *,
    where: Mapping[str, Any] | None = None,
    jobs: Sequence[str] | None = None,
) -> Iterator[pd.DataFrame]:
    """Yield the frame of :func:`samples` in parts, one for each window."""
    for row, series in window_samples(database, campaign, where=where, jobs=jobs):
        own = {name: row[name] for name in ("task", "job", "index", "lambda_value", "first_run")}
        columns = {name: values for name, values in vars(series).items() if values.ndim == 1}
        yield pd.DataFrame(own | columns).astype({name: query.WINDOW_FIELDS[name].dtype for name in own})


def samples(
    database: Database,
    campaign: str | None = None,
    *,
    where: Mapping[str, Any] | None = None,
    jobs: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the samples of windows, one row per sample; use :func:`window_samples` if they exceed the memory.

    See :func:`alchemflows.results.query.windows` for the parameters. The energies at other λ are in :func:`u_nk`.

    Returns
    -------
    frame
        `task`, `job`, `index`, `lambda_value` and `first_run` of the window, as in :func:`windows`; `time_fs` since
        the first production step of the job, `energy_eV`, `dudl_eV`, `temperature_K`, `volume_A3`.
    """
    frames = list(sample_frames(database, campaign, where=where, jobs=jobs))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def dhdl(database: Database, uuid: str, *, decorrelated: bool = True) -> pd.DataFrame:
    """Return dU/dλ of a ladder for the ``TI`` estimator of alchemlyb, which reproduces `ti` of the document, in kT.

    Parameters
    ----------
    database
        Database to read.
    uuid
        Identifier of the analysis of the ladder, `uuid` in :func:`free_energies`.
    decorrelated
        Whether to omit correlated samples, as the analysis does.

    Returns
    -------
    frame
        See :func:`alchemflows.free_energy.estimators.dhdl`. alchemlyb's ``TI`` uses the trapezoid rule; `ti_weight`
        in the document contains the quadrature weights of a Gauss–Legendre ladder.

    Raises
    ------
    DatabaseError
        If the ladder or its samples are not in the database.
    """
    document, lambdas, kept = _ladder(database, uuid, decorrelated)
    return estimators.dhdl(lambdas, kept, document.temperature_K)


def u_nk(database: Database, uuid: str, *, decorrelated: bool = True) -> pd.DataFrame:
    """Return reduced energies of a ladder for ``MBAR`` of alchemlyb, which reproduces `mbar` of the document, in kT.

    See :func:`dhdl` for the parameters and :func:`alchemflows.free_energy.estimators.u_nk` for the frame.
    """
    document, lambdas, kept = _ladder(database, uuid, decorrelated)
    return estimators.u_nk(lambdas, kept, document.temperature_K, document.pressure_GPa)


def _ladder(
    database: Database, uuid: str, decorrelated: bool
) -> tuple[FreeEnergyDocument, list[float], list[Decorrelated]]:
    """Return the document of a ladder, the λ of its windows, and their samples."""
    outputs = database.job_store.docs_store
    document = analysis(outputs, uuid)
    ladder = collect(None, window_documents(outputs, database.samples(), document.window_jobs), ())
    every = None if decorrelated else 1.0
    kept = [decorrelate(ladder.lambdas, k, series, every) for k, series in enumerate(ladder.series())]
    return document, ladder.lambdas, kept


def _frame(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, Column]) -> pd.DataFrame:
    frame = pd.DataFrame.from_records(list(rows), columns=list(columns))
    return frame.astype({name: column.dtype for name, column in columns.items()})
