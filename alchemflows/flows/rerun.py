"""Run the ladder of a stored free energy again with another potential, from its document and its frames."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from ase.data import chemical_symbols
from jobflow import Flow, Maker
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.system import Coupling
from alchemflows.errors import InvalidInputError
from alchemflows.flows.common import GPU_CATEGORY
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.jobs.relax import AlchemicalRelaxMaker
from alchemflows.schemas.frames import Frames
from alchemflows.schemas.free_energy import FreeEnergyDocument
from alchemflows.schemas.potential import PotentialSpec


@dataclass
class RerunMaker(Maker):
    """Run the ladder of a stored free energy again with a potential.

    Parameters
    ----------
    name
        Name of the flow.
    potential
        The potential.
    category
        FireWorks category of the jobs that evaluate it.

    Examples
    --------
    >>> from alchemflows import PotentialSpec
    >>> RerunMaker(potential=PotentialSpec(name="mace-demo"), category="gpu").potential.name
    'mace-demo'
    """

    name: str = "rerun"
    potential: PotentialSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    category: str | None = GPU_CATEGORY

    def make(self, ladder: FreeEnergyDocument, initial: Frames, final: Frames) -> Flow:
        """Return the flow; see :func:`ladder_again`."""
        return ladder_again(ladder, initial, final, self.potential, category=self.category)


def ladder_again(
    ladder: FreeEnergyDocument,
    initial: Frames,
    final: Frames,
    potential: PotentialSpec,
    *,
    windows_per_job: int | None = None,
    category: str | None = GPU_CATEGORY,
) -> Flow:
    """Return the flow of the same ladder with another potential.

    Path, windows, conditions and lengths of the runs are those of the ladder. The crystal starts from the mean
    positions and the mean cell of the frames at λ = 0, and is relaxed with the potential; at constant volume the cell
    is kept.

    Parameters
    ----------
    ladder
        Free energy of the ladder.
    initial, final
        Its frames at λ = 0 and at λ = 1.
    potential
        The potential.
    windows_per_job
        Number of windows in each job; by default 1, or all windows with replica exchange.
    category
        FireWorks category of the jobs that evaluate the potential.

    Raises
    ------
    InvalidInputError
        If an end is a mixed crystal, sites are vacant, or the path cannot be derived from the frames.
    PotentialError
        If the potential cannot be loaded.
    """
    structure, substitution, sites = change_of(initial, final)
    resolved = len(ladder.weight_labels) > 2 * len(substitution)
    coupling = cast(Coupling, ladder.coupling)
    path = AlchemicalPath.from_substitution(
        structure, substitution, sites=sites, coupling=coupling, site_resolved=resolved
    )
    if list(path.system.weight_labels) != ladder.weight_labels:
        raise InvalidInputError(
            "the path of the ladder cannot be derived from its frames, since its site groups are not those of a plain "
            "substitution; run it with the command or the campaign that made it"
        )
    dynamics = ladder.dynamics
    lambdas = [window.lambda_value for window in ladder.windows]
    n_runs = min(window.n_runs for window in ladder.windows)
    spacing: dict[str, Any] = {"lambdas": lambdas}
    if ladder.ti_rule == "gauss-legendre":
        spacing = {"n_windows": len(lambdas) - 2, "spacing": "gauss-legendre"}
    relax = AlchemicalRelaxMaker()
    if ladder.pressure_GPa is None:
        relax = replace(relax, maker=replace(relax.maker, relax_cell=False))
    maker = ThermodynamicIntegrationMaker(
        potential=potential,
        category=category,
        temperature=ladder.temperature_K,
        pressure_GPa=ladder.pressure_GPa,
        cell_freedom=dynamics.cell_freedom,
        timestep_fs=dynamics.timestep_fs,
        friction_per_ps=dynamics.friction_per_ps,
        barostat_time_ps=dynamics.barostat_time_ps,
        seed=ladder.provenance.seed or 0,
        coupling=coupling,
        site_resolved=resolved,
        relax_maker=relax,
        crystal=any(window.sites is not None for window in ladder.windows),
        windows_per_job=windows_per_job or (len(lambdas) if dynamics.replica_exchange else 1),
        replica_exchange=dynamics.replica_exchange,
        exchange_temperatures=dynamics.exchange_temperatures_K,
        n_equilibration_steps=dynamics.n_equilibration_steps,
        n_production_steps=dynamics.n_production_steps,
        sample_interval_steps=dynamics.sample_interval_steps,
        n_runs=n_runs,
        n_frames=max(1, round(len(initial) / ladder.windows[0].n_runs)),
        **spacing,
    )
    return maker.make(structure, substitution, sites=sites)


def change_of(initial: Frames, final: Frames) -> tuple[Structure, dict[str, str], list[int] | None]:
    """Return the mean initial crystal, the substitution that leads to the final one, and the sites that change.

    The sites are None if all sites of the replaced elements change.

    Raises
    ------
    InvalidInputError
        If an end is a mixed crystal, a site is vacant, nothing changes, or one element becomes several.

    Examples
    --------
    >>> import numpy as np
    >>> ends = [
    ...     Frames.of([{z: 1.0}, {17: 1.0}], [[[0, 0, 0], [2.9, 0, 0]]], [np.eye(3) * 5.8], [-6.0], [0.0])
    ...     for z in (11, 19)
    ... ]
    >>> structure, substitution, sites = change_of(*ends)
    >>> structure.formula, substitution, sites
    ('Na1 Cl1', {'Na': 'K'}, None)
    """
    if not (initial.is_ordered and final.is_ordered):
        raise InvalidInputError(
            "the ladder ends in a mixed crystal; run it with the command or the campaign that made it"
        )
    if (initial.shares.sum(axis=1) == 0).any() or (final.shares.sum(axis=1) == 0).any():
        raise InvalidInputError("the crystal has vacant sites; run it with the command or the campaign that made it")
    before, after = (_symbols(frames) for frames in (initial, final))
    changed = [k for k, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    substitution: dict[str, str] = {}
    for k in changed:
        if substitution.setdefault(before[k], after[k]) != after[k]:
            raise InvalidInputError(
                f"{before[k]} becomes {substitution[before[k]]} on some sites and {after[k]} on others; run the ladder "
                "with the command or the campaign that made it"
            )
    if not substitution:
        raise InvalidInputError("both ends of the ladder have the same elements")
    everywhere = [k for k, symbol in enumerate(before) if symbol in substitution] == changed
    structure = Structure(Lattice(initial.cells_A.mean(axis=0)), before, initial.fractional.mean(axis=0))
    return structure, substitution, None if everywhere else changed


def _symbols(frames: Frames) -> list[str]:
    places = frames.shares.argmax(axis=1)
    return [chemical_symbols[z] for z in frames.numbers[np.arange(len(places)), places]]
