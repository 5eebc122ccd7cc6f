"""Fig. 4: CsPbI3 → CsSnI3 by the alchemical path and by two Frenkel–Ladd runs, in the α and the δ phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jobflow import Flow, Maker, job

from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.switching import SwitchingMaker
from alchemflows.reproduce.settings import FIG4, FIG4_SMALL, Effort
from alchemflows.reproduce.structures import alpha_perovskite, delta_perovskite
from alchemflows.schemas.dynamics import CellFreedom
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reproduction import Check, ReproductionDocument, Row
from alchemflows.schemas.switching import SwitchingDocument

#: Agreement of the two routes (eV/atom).
AGREEMENT_EV_PER_ATOM = 0.002
_FREEDOM: dict[str, CellFreedom] = {"alpha": "isotropic", "delta": "axes"}
_TEMPERATURES = (300.0, 350.0, 400.0, 450.0, 500.0)
#: The paper's numbers (MACE-MP-0 small), eV/atom.
PUBLISHED = {
    ("alpha", "alchemical"): dict(zip(_TEMPERATURES, (0.0233, 0.0236, 0.0241, 0.0249, 0.0258), strict=True)),
    ("alpha", "Frenkel–Ladd"): dict(zip(_TEMPERATURES, (0.0217, 0.0229, 0.0239, 0.0248, 0.0256), strict=True)),
    ("delta", "alchemical"): dict(zip(_TEMPERATURES, (0.0271, 0.0279, 0.0286, 0.0294, 0.0301), strict=True)),
    ("delta", "Frenkel–Ladd"): dict(zip(_TEMPERATURES, (0.0271, 0.0279, 0.0288, 0.0294, 0.0301), strict=True)),
}
PUBLISHED_PHASES = dict(zip(_TEMPERATURES, (-0.0046, -0.0018, 0.0001, 0.0022, 0.0047), strict=True))


@dataclass
class Fig4Maker(Maker):
    """The flow of Fig. 4; its output is a :class:`ReproductionDocument`.

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

    name: str = "Fig. 4"
    small: bool = False
    effort: Effort | None = None
    seed: int = 0

    def make(self) -> Flow:
        """Return the flow."""
        effort = self.effort or (FIG4_SMALL if self.small else FIG4)
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
        comparison = Fig4ComparisonMaker().make(keys, [run.output for run in runs], self.small)
        return Flow([*runs, comparison], output=comparison.output, name=self.name)


@dataclass
class Fig4ComparisonMaker(Maker):
    """The table of Fig. 4.

    Parameters
    ----------
    name
        Name of the job.
    """

    name: str = "table of Fig. 4"

    @job(output_schema=ReproductionDocument)
    def make(
        self,
        keys: Sequence[tuple[str, float]],
        documents: Sequence[SwitchingDocument | FrenkelLaddDocument],
        small: bool,
    ) -> ReproductionDocument:
        """Make the table.

        Parameters
        ----------
        keys
            Phase and temperature (K) of each three documents.
        documents
            The switching, and the Frenkel–Ladd runs of CsPbI3 and CsSnI3.
        small
            Whether this is the small version.
        """
        rows: list[Row] = []
        checks: list[Check] = []
        problems: list[str] = []
        lead_of: dict[tuple[str, float], FrenkelLaddDocument] = {}
        for k, (phase, temperature) in enumerate(keys):
            alchemical, lead, tin = documents[3 * k : 3 * k + 3]
            assert isinstance(alchemical, SwitchingDocument)
            assert isinstance(lead, FrenkelLaddDocument) and isinstance(tin, FrenkelLaddDocument)
            lead_of[phase, temperature] = lead
            one = alchemical.total.delta_f_eV_per_atom, alchemical.total.error_eV_per_atom or 0.0
            two = _difference(tin, lead)
            for route, (value, error) in (("alchemical", one), ("Frenkel–Ladd", two)):
                published = None if small else PUBLISHED[phase, route].get(temperature)
                quantity = f"ΔG CsPbI3 → CsSnI3, {phase}, {route}"
                rows.append(_row(quantity, temperature, value, error, published))
            error = float(np.hypot(one[1], two[1]))
            place = f"{phase}, {temperature:g} K: alchemical − Frenkel–Ladd"
            checks += [
                Check(name=place, value=(one[0] - two[0]) / error, bound=2.0, unit="σ"),
                Check(name=place, value=one[0] - two[0], bound=AGREEMENT_EV_PER_ATOM, unit="eV/atom"),
            ]
            for name, document in (("alchemical", alchemical), ("CsPbI3", lead), ("CsSnI3", tin)):
                problems += [f"{phase}, {temperature:g} K, {name}: {r}" for r in document.verdict.reasons]
        for (phase, temperature), lead in lead_of.items():
            if phase == "delta" and ("alpha", temperature) in lead_of:
                value, error = _difference(lead, lead_of["alpha", temperature])
                published = None if small else PUBLISHED_PHASES.get(temperature)
                rows.append(_row("G(δ) − G(α) of CsPbI3", temperature, value, error, published))
        first = documents[0].provenance
        return ReproductionDocument(
            figure="Fig. 4",
            small=small,
            rows=rows,
            checks=checks,
            problems=problems,
            provenance=Provenance(potential=first.potential, seed=first.seed),
        )


def _difference(one: FrenkelLaddDocument, other: FrenkelLaddDocument) -> tuple[float, float]:
    """Return G per atom of one less that of another, and the standard error."""
    a, b = one.gibbs, other.gibbs
    return a.value_eV_per_atom - b.value_eV_per_atom, float(np.hypot(a.error_eV_per_atom, b.error_eV_per_atom))


def _row(quantity: str, temperature_K: float, value: float, error: float, published: float | None) -> Row:
    return Row(
        quantity=quantity, temperature_K=temperature_K, value=value, error=error, published=published, unit="eV/atom"
    )
