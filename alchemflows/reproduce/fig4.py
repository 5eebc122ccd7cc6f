"""Fig. 4: ΔG of CsPbI3 → CsSnI3 by an alchemical path and by two Frenkel–Ladd runs, in the α and the δ phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jobflow import Flow, job

from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.switching import SwitchingMaker
from alchemflows.reproduce.figure import FigureMaker, TableMaker
from alchemflows.reproduce.settings import FIG4, DynamicsEffort
from alchemflows.schemas.dynamics import CellFreedom
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.reproduction import Check, ReproductionDocument, Row, Version
from alchemflows.schemas.switching import SwitchingDocument
from alchemflows.structures.prototypes import alpha_perovskite, delta_perovskite

#: Largest allowed difference between the two routes (eV/atom).
AGREEMENT_EV_PER_ATOM = 0.002
_FREEDOM: dict[str, CellFreedom] = {"alpha": "isotropic", "delta": "axes"}
_TEMPERATURES = (300.0, 350.0, 400.0, 450.0, 500.0)
_CHANGE = "ΔG CsPbI3 → CsSnI3"
_PHASES = "G(δ) − G(α) of CsPbI3"
#: Values published in the paper (MACE-MP-0 small), eV/atom.
PUBLISHED = {
    quantity: dict(zip(_TEMPERATURES, values, strict=True))
    for quantity, values in {
        f"{_CHANGE}, alpha, alchemical": (0.0233, 0.0236, 0.0241, 0.0249, 0.0258),
        f"{_CHANGE}, alpha, Frenkel–Ladd": (0.0217, 0.0229, 0.0239, 0.0248, 0.0256),
        f"{_CHANGE}, delta, alchemical": (0.0271, 0.0279, 0.0286, 0.0294, 0.0301),
        f"{_CHANGE}, delta, Frenkel–Ladd": (0.0271, 0.0279, 0.0288, 0.0294, 0.0301),
        _PHASES: (-0.0046, -0.0018, 0.0001, 0.0022, 0.0047),
    }.items()
}


@dataclass
class Fig4Maker(FigureMaker[DynamicsEffort]):
    """Flow that reproduces Fig. 4. See :class:`FigureMaker` for the parameters."""

    name: str = "Fig. 4"

    @property
    def efforts(self) -> Mapping[Version, DynamicsEffort]:
        """Settings of each version."""
        return FIG4

    def make(self) -> Flow:
        """Return the flow: both routes for each phase and temperature, and their comparison."""
        effort = self.effort
        runs, keys = [], []
        for phase, repeats in effort.supercells.items():
            lead, tin = (
                (alpha_perovskite if phase == "alpha" else delta_perovskite)(e) * repeats for e in ("Pb", "Sn")
            )
            for temperature in effort.temperatures_K:
                conditions: dict[str, Any] = {
                    "potential": effort.potential,
                    "temperature": temperature,
                    "cell_freedom": _FREEDOM[phase],
                    "timestep_fs": effort.timestep_fs,
                    "seed": self.seed,
                }
                absolute = FrenkelLaddMaker(**conditions, **effort.lengths())
                switching = SwitchingMaker(
                    **conditions, **effort.lengths("n_repeats", "n_equilibration_steps", "n_switching_steps")
                )
                runs += [switching.make(lead, {"Pb": "Sn"}), absolute.make(lead), absolute.make(tin)]
                keys.append((phase, temperature))
        comparison = Fig4ComparisonMaker().make(keys, [run.output for run in runs], self.version)
        return Flow([*runs, comparison], output=comparison.output, name=self.name)


@dataclass
class Fig4ComparisonMaker(TableMaker):
    """Job that makes the table of Fig. 4. See :class:`TableMaker` for the parameters."""

    figure = "Fig. 4"
    unit = "eV/atom"
    published = PUBLISHED

    name: str = "table of Fig. 4"

    @job(output_schema=ReproductionDocument)
    def make(
        self,
        keys: Sequence[tuple[str, float]],
        documents: Sequence[SwitchingDocument | FrenkelLaddDocument],
        version: Version,
    ) -> ReproductionDocument:
        """Compare the two routes.

        Parameters
        ----------
        keys
            Phase and temperature (K) of each group of three documents.
        documents
            For each key: switching, Frenkel–Ladd run of CsPbI3, Frenkel–Ladd run of CsSnI3.
        version
            Version of the settings.
        """
        rows: list[Row] = []
        checks: list[Check] = []
        results: dict[str, SwitchingDocument | FrenkelLaddDocument] = {}
        lead_of: dict[tuple[str, float], FrenkelLaddDocument] = {}
        for k, (phase, temperature) in enumerate(keys):
            alchemical, lead, tin = documents[3 * k : 3 * k + 3]
            assert isinstance(alchemical, SwitchingDocument)
            assert isinstance(lead, FrenkelLaddDocument) and isinstance(tin, FrenkelLaddDocument)
            lead_of[phase, temperature] = lead
            one = alchemical.total.delta_f_eV_per_atom, alchemical.total.error_eV_per_atom or 0.0
            two = _difference(tin, lead)
            rows += [
                self.row(version, f"{_CHANGE}, {phase}, {route}", temperature, *estimate)
                for route, estimate in (
                    ("alchemical", (one[0], alchemical.total.error_eV_per_atom)),
                    ("Frenkel–Ladd", two),
                )
            ]
            place = f"{phase}, {temperature:g} K"
            compared = f"{place}: alchemical − Frenkel–Ladd"
            difference, error = one[0] - two[0], float(np.hypot(one[1], two[1]))
            checks += [
                Check(name=compared, value=difference / error, bound=2.0, unit="σ"),
                Check(name=compared, value=difference, bound=AGREEMENT_EV_PER_ATOM, unit="eV/atom"),
            ]
            results |= {f"{place}, alchemical": alchemical, f"{place}, CsPbI3": lead, f"{place}, CsSnI3": tin}
        for (phase, temperature), lead in lead_of.items():
            if phase == "delta" and ("alpha", temperature) in lead_of:
                estimate = _difference(lead, lead_of["alpha", temperature])
                rows.append(self.row(version, _PHASES, temperature, *estimate))
        return self.document(version, rows, checks, results)


def _difference(one: FrenkelLaddDocument, other: FrenkelLaddDocument) -> tuple[float, float]:
    """Return the difference in G per atom (eV), `one` minus `other`, and its standard error."""
    a, b = one.gibbs, other.gibbs
    return a.value_eV_per_atom - b.value_eV_per_atom, float(np.hypot(a.error_eV_per_atom, b.error_eV_per_atom))
