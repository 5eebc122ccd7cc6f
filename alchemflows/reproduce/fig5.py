"""Fig. 5: free energy of a vacancy in bcc iron, by two Frenkel–Ladd runs and by an alchemical path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobflow import Flow, job

from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.vacancy import VacancyFreeEnergyMaker
from alchemflows.reproduce.figure import FigureMaker, TableMaker
from alchemflows.reproduce.settings import FIG5, DynamicsEffort
from alchemflows.schemas.reproduction import Check, ReproductionDocument, Row, Version
from alchemflows.schemas.vacancy import VacancyDocument
from alchemflows.structures.prototypes import bcc_iron

_TEMPERATURES = (50.0, 100.0, 150.0, 200.0)
_VACANCY = "G of a vacancy in bcc Fe"
#: Values published in the paper (MACE-MP-0 small), eV.
PUBLISHED = {
    f"{_VACANCY}, Frenkel–Ladd": dict(zip(_TEMPERATURES, (1.551, 1.548, 1.523, 1.511), strict=True)),
    f"{_VACANCY}, alchemical": dict(zip(_TEMPERATURES, (1.558, 1.541, 1.519, 1.500), strict=True)),
}


@dataclass
class Fig5Maker(FigureMaker[DynamicsEffort]):
    """Flow that reproduces Fig. 5. See :class:`FigureMaker` for the parameters."""

    name: str = "Fig. 5"

    @property
    def efforts(self) -> Mapping[Version, DynamicsEffort]:
        """Settings of each version."""
        return FIG5

    def make(self) -> Flow:
        """Return the flow: the vacancy at each temperature, and the comparison of the two routes."""
        effort = self.effort
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
        comparison = Fig5ComparisonMaker().make([run.output for run in runs], self.version)
        return Flow([*runs, comparison], output=comparison.output, name=self.name)


@dataclass
class Fig5ComparisonMaker(TableMaker):
    """Job that makes the table of Fig. 5. See :class:`TableMaker` for the parameters."""

    figure = "Fig. 5"
    unit = "eV"
    published = PUBLISHED

    name: str = "table of Fig. 5"

    @job(output_schema=ReproductionDocument)
    def make(self, documents: Sequence[VacancyDocument], version: Version) -> ReproductionDocument:
        """Compare the two routes.

        Parameters
        ----------
        documents
            Vacancy document of each temperature.
        version
            Version of the settings.
        """
        rows: list[Row] = []
        checks: list[Check] = []
        for d in documents:
            two = self.row(
                version, f"{_VACANCY}, Frenkel–Ladd", d.temperature_K, d.frenkel_ladd_eV, d.frenkel_ladd_error_eV
            )
            one = self.row(version, f"{_VACANCY}, alchemical", d.temperature_K, d.alchemical_eV, d.alchemical_error_eV)
            rows += [two, one]
            name = f"{d.temperature_K:g} K: alchemical − Frenkel–Ladd"
            checks.append(Check(name=name, value=d.difference_eV / d.difference_error_eV, bound=2.0, unit="σ"))
        return self.document(version, rows, checks, {f"{d.temperature_K:g} K": d for d in documents})
