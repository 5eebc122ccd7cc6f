"""Collect the windows of a ladder from the documents of all jobs that sampled or extended them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.samples import WindowSeries
from alchemflows.schemas.sites import SitesSummary, worst
from alchemflows.schemas.windows import PackedState, WindowDocument, WindowExchange, WindowsDocument

#: Fields that must be equal in all documents of a ladder.
_OF_ONE_LADDER = (
    "lambdas",
    "temperature_K",
    "counts",
    "initial_formula",
    "final_formula",
    "coupling",
    "initial_weights",
    "final_weights",
    "dynamics",
)


@dataclass(frozen=True)
class CollectedWindow:
    """A window of a ladder, made of the documents of the jobs that sampled it, in the order of time."""

    parts: tuple[WindowDocument, ...]

    @property
    def index(self) -> int:
        """Index of the window in the grid of λ."""
        return self.parts[0].index

    @property
    def lambda_value(self) -> float:
        """λ of the window."""
        return self.parts[0].lambda_value

    @property
    def n_runs(self) -> int:
        """Number of production runs."""
        return sum(part.n_runs for part in self.parts)

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return sum(part.n_samples for part in self.parts)

    @property
    def final_state(self) -> PackedState:
        """State of the window at the end of its last run."""
        return self.parts[-1].final_state

    @property
    def start_lambda(self) -> float | None:
        """λ at which its start structure was relaxed; None if all windows started from one structure."""
        return self.parts[0].start_lambda

    @property
    def sites(self) -> SitesSummary | None:
        """Distances of atoms from their sites, in the document in which they are largest; None if not stored."""
        known = [part.sites for part in self.parts if part.sites is not None]
        return worst(known) if known else None

    @property
    def exchange(self) -> WindowExchange | None:
        """Exchange with replicas at other temperatures, in all documents together. None without it."""
        found = [(part.exchange, part.n_samples) for part in self.parts if part.exchange is not None]
        return WindowExchange.joined(*zip(*found, strict=True)) if found else None

    def mean(self, name: str) -> float:
        """Return the mean of a field over all samples, from the means stored in the documents."""
        return sum(part.n_samples * getattr(part, name) for part in self.parts) / self.n_samples

    def series(self, columns: Sequence[int], temperature_K: float | None = None) -> WindowSeries:
        """Return all samples as one series, with the energies at the given indices of the grid of λ.

        A temperature (K) of exchange gives the samples of the replicas there, if they are stored.
        """
        unpacked = [part.series.unpack(temperature_K) for part in self.parts]
        joined = {
            field.name: np.concatenate([getattr(s, field.name) for s in unpacked]) for field in fields(unpacked[0])
        }
        starts = np.cumsum([0.0, *(s.time_fs[-1] for s in unpacked[:-1])])
        joined["time_fs"] = np.concatenate([s.time_fs + start for s, start in zip(unpacked, starts, strict=True)])
        joined["energies_eV"] = joined["energies_eV"][:, list(columns)]
        return WindowSeries(**joined)


@dataclass(frozen=True)
class CollectedLadder:
    """Windows of a ladder in the order of λ.

    Attributes
    ----------
    first
        Document of one of the window jobs; its settings are those of the ladder.
    windows
        Windows in the order of λ.
    jobs
        Identifiers of all window jobs.
    """

    first: WindowsDocument
    windows: tuple[CollectedWindow, ...]
    jobs: tuple[str, ...] = ()

    @property
    def indices(self) -> list[int]:
        """Indices of the windows in the grid of λ."""
        return [window.index for window in self.windows]

    @property
    def lambdas(self) -> list[float]:
        """λ of the windows."""
        return [window.lambda_value for window in self.windows]

    def nearest(self, value: float) -> CollectedWindow:
        """Return the window whose λ is nearest to a value."""
        return min(self.windows, key=lambda window: abs(window.lambda_value - value))

    def series(self) -> Iterator[WindowSeries]:
        """Yield the samples of each window, with the energies at the λ of the windows of this ladder."""
        for window in self.windows:
            yield window.series(self.indices)


def collect(
    path: AlchemicalPath | None, documents: Sequence[WindowsDocument], planned: Sequence[int] | None = None
) -> CollectedLadder:
    """Return the windows of a ladder, collected from the outputs of its window jobs.

    Parameters
    ----------
    path
        The path that the windows must belong to; None if it is not checked.
    documents
        Outputs of the window jobs.
    planned
        Indices in the grid of λ that must have windows; by default, all.

    Raises
    ------
    InvalidInputError
        If a window is missing, incomplete or given twice, or the documents belong to different ladders or to another
        path.
    """
    first = documents[0]
    # At constant pressure, windows that are added or extended later start from another cell.
    fixed = () if first.dynamics.pressure_GPa is not None else ("volume_A3",)
    for field in (*_OF_ONE_LADDER, *fixed):
        values = [getattr(document, field) for document in documents]
        if any(value != values[0] for value in values):
            raise InvalidInputError(f"the windows belong to different ladders: {field} differs between their documents")
    if len({document.provenance.potential and document.provenance.potential.sha256 for document in documents}) > 1:
        raise InvalidInputError("the windows belong to different ladders: they were sampled with different potentials")
    if path and (first.initial_weights, first.final_weights) != (list(path.initial), list(path.final)):
        raise InvalidInputError("the windows belong to another path: its initial or final weights differ")
    parts: dict[int, list[WindowDocument]] = {}
    for document in documents:
        for window in document.windows:
            parts.setdefault(window.index, []).append(window)
    windows = [CollectedWindow(tuple(sorted(parts[index], key=lambda w: w.first_run))) for index in sorted(parts)]
    needed = range(len(first.lambdas)) if planned is None else planned
    if set(needed) - parts.keys() or not all(_is_contiguous(window.parts) for window in windows):
        found = sorted(window.index for document in documents for window in document.windows)
        raise InvalidInputError(f"{len(needed)} windows are required, each given once and without gaps; got {found}")
    jobs = tuple(document.job_uuid for document in documents if document.job_uuid is not None)
    return CollectedLadder(first, tuple(windows), jobs)


def _is_contiguous(parts: Sequence[WindowDocument]) -> bool:
    """Return whether the documents of a window follow one another without gaps or repetitions."""
    return parts[0].first_run == 0 and all(b.first_run == a.first_run + a.n_runs for a, b in pairwise(parts))
