"""Base classes of the figures: flows with several versions of the settings, and tables with published values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, Protocol, TypeVar

from jobflow import Maker

from alchemflows.reproduce.settings import Effort
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.reproduction import Check, ReproductionDocument, Row, Version
from alchemflows.schemas.verdict import Verdict

E = TypeVar("E", bound=Effort)


class HasVerdict(Protocol):
    """A result with a verdict and provenance."""

    verdict: Verdict
    provenance: Provenance


@dataclass
class FigureMaker(Maker, Generic[E]):
    """Base class of flows that reproduce a figure; their output is a :class:`ReproductionDocument`.

    Parameters
    ----------
    name
        Name of the flow.
    version
        Version of the settings: ``paper``, ``medium`` (one to two hours on 2 CPU cores) or ``small`` (minutes).
    seed
        Seed of all random numbers.
    device
        Device of the potential; None for the default of the version.
    """

    name: str = "figure"
    version: Version = "paper"
    seed: int = 0
    device: str | None = None

    @property
    def efforts(self) -> Mapping[Version, E]:
        """Settings of each version."""
        raise NotImplementedError

    @property
    def effort(self) -> E:
        """Settings of this version, with the chosen device."""
        effort = self.efforts[self.version]
        if self.device is None:
            return effort
        return replace(effort, potential=effort.potential.model_copy(update={"device": self.device}))


@dataclass
class TableMaker(Maker):
    """Base class of jobs that make the table of a figure.

    Parameters
    ----------
    name
        Name of the job.
    """

    figure: ClassVar[str]
    unit: ClassVar[str]
    #: Published values, by quantity and temperature (K).
    published: ClassVar[Mapping[str, Mapping[float, float]]] = {}

    name: str = "table"

    def row(self, version: Version, quantity: str, temperature_K: float, value: float, error: float | None) -> Row:
        """Return a row of the table, with the published value if the version is ``paper``."""
        published = self.published.get(quantity, {}) if version == "paper" else {}
        return Row(
            quantity=quantity,
            temperature_K=temperature_K,
            value=value,
            error=error,
            published=published.get(temperature_K),
            unit=self.unit,
        )

    def document(
        self,
        version: Version,
        rows: Sequence[Row],
        checks: Sequence[Check],
        results: Mapping[str, HasVerdict],
    ) -> ReproductionDocument:
        """Return the document; its verdict lists failed checks and the reasons of the single results."""
        failed = [
            Reason.CROSS_CHECK.because(name=check.name, value=check.value, unit=check.unit, bound=check.bound)
            for check in checks
            if not check.holds
        ]
        warned = [f"{name}: {reason}" for name, result in results.items() for reason in result.verdict.reasons]
        first = next(iter(results.values())).provenance
        return ReproductionDocument(
            figure=self.figure,
            version=version,
            rows=list(rows),
            checks=list(checks),
            verdict=Verdict.of([*failed, *warned]),
            provenance=Provenance(potential=first.potential, seed=first.seed),
        )
