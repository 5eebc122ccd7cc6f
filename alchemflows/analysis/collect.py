"""Brings the windows of one ladder together, however many jobs sampled them and however often they were extended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.samples import WindowSeries
from alchemflows.schemas.sites import SitesSummary, worst
from alchemflows.schemas.windows import PackedState, WindowDocument, WindowsDocument

#: What windows of one ladder have in common.
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
    """One window: its documents, one after the other in time."""

    parts: tuple[WindowDocument, ...]

    @property
    def index(self) -> int:
        """Place in the grid of λ."""
        return self.parts[0].index

    @property
    def lambda_value(self) -> float:
        """λ."""
        return self.parts[0].lambda_value

    @property
    def n_runs(self) -> int:
        """Production runs."""
        return sum(part.n_runs for part in self.parts)

    @property
    def n_samples(self) -> int:
        """Samples."""
        return sum(part.n_samples for part in self.parts)

    @property
    def final_state(self) -> PackedState:
        """Where it is now."""
        return self.parts[-1].final_state

    @property
    def start_lambda(self) -> float | None:
        """λ at which the structure was relaxed that it started from."""
        return self.parts[0].start_lambda

    @property
    def sites(self) -> SitesSummary | None:
        """How far atoms were from their sites, in the part in which they were away most."""
        known = [part.sites for part in self.parts if part.sites is not None]
        return worst(known) if known else None

    def mean(self, name: str) -> float:
        """Return a mean over all samples from the means of the documents."""
        return sum(part.n_samples * getattr(part, name) for part in self.parts) / self.n_samples

    def series(self, columns: Sequence[int]) -> WindowSeries:
        """Return all samples as one series, energies at some columns of the grid."""
        unpacked = [part.series.unpack() for part in self.parts]
        joined = {
            field.name: np.concatenate([getattr(s, field.name) for s in unpacked]) for field in fields(unpacked[0])
        }
        starts = np.cumsum([0.0, *(s.time_fs[-1] for s in unpacked[:-1])])
        joined["time_fs"] = np.concatenate([s.time_fs + start for s, start in zip(unpacked, starts, strict=True)])
        joined["energies_eV"] = joined["energies_eV"][:, list(columns)]
        return WindowSeries(**joined)


@dataclass(frozen=True)
class CollectedLadder:
    """Windows of one ladder in the order of λ; `first` is the document of one of their jobs, `jobs` names them all."""

    first: WindowsDocument
    windows: tuple[CollectedWindow, ...]
    jobs: tuple[str, ...] = ()

    @property
    def indices(self) -> list[int]:
        """Places of the windows in the grid."""
        return [window.index for window in self.windows]

    @property
    def lambdas(self) -> list[float]:
        """λ of the windows."""
        return [window.lambda_value for window in self.windows]

    def nearest(self, value: float) -> CollectedWindow:
        """Return the window nearest in λ."""
        return min(self.windows, key=lambda window: abs(window.lambda_value - value))

    def series(self) -> Iterator[WindowSeries]:
        """Yield the samples of each window, energies at the λ of the windows only."""
        for window in self.windows:
            yield window.series(self.indices)


def collect(
    path: AlchemicalPath | None, documents: Sequence[WindowsDocument], planned: Sequence[int] | None = None
) -> CollectedLadder:
    """Return the windows of a ladder.

    Parameters
    ----------
    path
        The path that was sampled; None for whatever the documents say.
    documents
        Outputs of the window jobs.
    planned
        Places in the grid that must have windows; all if not given.

    Raises
    ------
    InvalidInputError
        If a window is missing or there twice, or the documents are of different ladders.
    """
    first = documents[0]
    # Where cells move, later windows begin with other cells.
    fixed = () if first.dynamics.pressure_GPa is not None else ("volume_A3",)
    for field in (*_OF_ONE_LADDER, *fixed):
        values = [getattr(document, field) for document in documents]
        if any(value != values[0] for value in values):
            raise InvalidInputError(f"the windows are of different ladders: {field} is not the same in all")
    if len({document.provenance.potential and document.provenance.potential.sha256 for document in documents}) > 1:
        raise InvalidInputError("the windows are of different ladders: they were sampled with different models")
    if path and (first.initial_weights, first.final_weights) != (list(path.initial), list(path.final)):
        raise InvalidInputError("the windows are of another path than the one given")
    parts: dict[int, list[WindowDocument]] = {}
    for document in documents:
        for window in document.windows:
            parts.setdefault(window.index, []).append(window)
    windows = [CollectedWindow(tuple(sorted(parts[index], key=lambda w: w.first_run))) for index in sorted(parts)]
    needed = range(len(first.lambdas)) if planned is None else planned
    if set(needed) - parts.keys() or not all(_is_whole(window.parts) for window in windows):
        found = sorted(window.index for document in documents for window in document.windows)
        raise InvalidInputError(f"{len(needed)} windows are needed, each once and whole; got {found}")
    jobs = tuple(document.job_uuid for document in documents if document.job_uuid is not None)
    return CollectedLadder(first, tuple(windows), jobs)


def _is_whole(parts: Sequence[WindowDocument]) -> bool:
    """Tell whether the parts of a window follow one another without a gap or a repetition."""
    return parts[0].first_run == 0 and all(b.first_run == a.first_run + a.n_runs for a, b in pairwise(parts))
