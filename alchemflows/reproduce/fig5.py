"""Fig. 5: the free energy of a vacancy in bcc iron, by two Frenkel–Ladd runs and by an alchemical path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobflow import Flow, Maker, job

from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.vacancy import VacancyFreeEnergyMaker
from alchemflows.reproduce.settings import FIG5, FIG5_SMALL, Effort
from alchemflows.reproduce.structures import bcc_iron
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reproduction import Check, ReproductionDocument, Row
from alchemflows.schemas.vacancy import VacancyDocument

_TEMPERATURES = (50.0, 100.0, 150.0, 200.0)
#: The paper's numbers (MACE-MP-0 small), eV.
PUBLISHED = {
    "Frenkel–Ladd": dict(zip(_TEMPERATURES, (1.551, 1.548, 1.523, 1.511), strict=True)),
    "alchemical": dict(zip(_TEMPERATURES, (1.558, 1.541, 1.519, 1.500), strict=True)),
}


@dataclass
class Fig5Maker(Maker):
    """The flow of Fig. 5; its output is a :class:`ReproductionDocument`.

    Parameters
    ----------
    name
        Name of the flow.
    small
        Whether to make the version of a few minutes.
    effort
        Potential, cells and lengths instead of those.
    seed
        Seed of all random numbers.
    """

    name: str = "Fig. 5"
    small: bool = False
    effort: Effort | None = None
    seed: int = 0

    def make(self) -> Flow:
        """Return the flow."""
        effort = self.effort or (FIG5_SMALL if self.small else FIG5)
        crystal = bcc_iron() * effort.supercells["iron"]
        runs = [
            VacancyFreeEnergyMaker(
                frenkel_ladd_maker=FrenkelLaddMaker(
                    potential=effort.potential,
                    temperature=temperature,
                    timestep_fs=effort.timestep_fs,
                    seed=self.seed,
                    **effort.lengths(),
                )
            ).make(crystal)
            for temperature in effort.temperatures_K
        ]
        comparison = Fig5ComparisonMaker().make([run.output for run in runs], self.small)
        return Flow([*runs, comparison], output=comparison.output, name=self.name)


@dataclass
class Fig5ComparisonMaker(Maker):
    """The table of Fig. 5.

    Parameters
    ----------
    name
        Name of the job.
    """

    name: str = "table of Fig. 5"

    @job(output_schema=ReproductionDocument)
    def make(self, documents: Sequence[VacancyDocument], small: bool) -> ReproductionDocument:
        """Make the table.

        Parameters
        ----------
        documents
            One for each temperature.
        small
            Whether this is the small version.
        """
        rows, checks = [], []
        for d in documents:
            for route, value, error in (
                ("Frenkel–Ladd", d.frenkel_ladd_eV, d.frenkel_ladd_error_eV),
                ("alchemical", d.alchemical_eV, d.alchemical_error_eV),
            ):
                published = None if small else PUBLISHED[route].get(d.temperature_K)
                rows.append(
                    Row(
                        quantity=f"G of a vacancy in bcc Fe, {route}",
                        temperature_K=d.temperature_K,
                        value=value,
                        error=error,
                        published=published,
                        unit="eV",
                    )
                )
            name = f"{d.temperature_K:g} K: alchemical − Frenkel–Ladd"
            checks.append(Check(name=name, value=d.difference_eV / d.difference_error_eV, bound=2.0, unit="σ"))
        first = documents[0].provenance
        return ReproductionDocument(
            figure="Fig. 5",
            small=small,
            rows=rows,
            checks=checks,
            problems=[f"{d.temperature_K:g} K, {reason}" for d in documents for reason in d.verdict.reasons],
            provenance=Provenance(potential=first.potential, seed=first.seed),
        )
