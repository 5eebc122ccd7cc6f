"""Ladders in the database, and checks that several are of one system, so that they can be combined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pymatgen.core import Lattice

from alchemflows.analysis.collect import CollectedLadder
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.combination import ThermalState
from alchemflows.schemas.free_energy import FreeEnergyDocument
from alchemflows.schemas.windows import WindowsDocument

#: Largest distance between the same sites in two ladders of one crystal, relative to that of the nearest other site.
_MAX_SHIFT_SHARE = 0.15
#: Largest relative differences of cells at constant volume, and of shapes of cells that can or cannot change it.
_SAME_CELL, _SAME_SHAPE, _SIMILAR_SHAPE = 1e-4, 1e-3, 0.1
#: Largest relative difference of terms that are proportional to the temperature.
_SAME_TERM = 1e-6


@dataclass(frozen=True)
class StoredLadder:
    """A ladder in the database.

    Attributes
    ----------
    uuid
        Identifier of its analysis.
    document
        Document of the analysis.
    windows
        Outputs of its window jobs.
    """

    uuid: str
    document: FreeEnergyDocument
    windows: Sequence[WindowsDocument]

    @cached_property
    def conditions(self) -> list[ThermalState]:
        """Temperatures and pressure at which its windows have samples, in the order of the temperature.

        Besides its own temperature these are the temperatures of replica exchange. Earlier releases did not store the
        samples there.
        """
        temperatures = {self.document.temperature_K}
        if self.document.dynamics.exchange_temperatures_K:
            stored = [window.series.exchanged_temperatures_K for output in self.windows for window in output.windows]
            temperatures |= set.intersection(*map(set, stored))
        return [ThermalState(each, self.document.pressure_GPa) for each in sorted(temperatures)]

    def __str__(self) -> str:
        return f"ladder {self.uuid[:8]} ({ThermalState(self.document.temperature_K, self.document.pressure_GPa)})"


def check_alike(documents: Sequence[tuple[str, FreeEnergyDocument]]) -> None:
    """Check that ladders are of one system, before their samples are read.

    Parameters
    ----------
    documents
        Identifiers and documents of the analyses of ladders.

    Raises
    ------
    InvalidInputError
        If there is none, one is given twice, or two differ in transformation, number of atoms, path, coupling,
        potential, ensemble, cell degrees of freedom, or volume (at constant volume).
    """
    if not documents:
        raise InvalidInputError("no ladders: give the IDs of one or several ladders")
    first_uuid, first = documents[0]
    known = {first_uuid}
    for uuid, other in documents[1:]:
        if uuid in known:
            raise InvalidInputError(f"the ladder {uuid[:8]} is given twice; give it once")
        known.add(uuid)
        pairs = zip(_identity(first).items(), _identity(other).values(), strict=True)
        for (name, mine), theirs in pairs:
            if mine != theirs:
                raise InvalidInputError(
                    f"the ladders {first_uuid[:8]} and {uuid[:8]} cannot be combined: {name}: {mine} and {theirs}"
                )
        if first.ensemble == "NVT" and abs(other.volume_A3 / first.volume_A3 - 1) > _SAME_CELL:
            raise InvalidInputError(
                f"the ladders {first_uuid[:8]} and {uuid[:8]} cannot be combined: their constant volumes differ: "
                f"{first.volume_A3:.4f} and {other.volume_A3:.4f} Å³"
            )


def _identity(document: FreeEnergyDocument) -> dict[str, object]:
    """Return what must be equal in all ladders, by its name in messages."""
    potential = document.provenance.potential
    return {
        "transformation": f"{document.initial_formula} → {document.final_formula}",
        "number of atoms": document.counts.title,
        "ensemble": "constant volume" if document.pressure_GPa is None else "constant pressure",
        "coupling": document.coupling,
        "channels of the path (weight_labels)": document.weight_labels,
        "initial weights of the path": document.initial_weights,
        "final weights of the path": document.final_weights,
        "potential": None if potential is None else potential.name.rpartition("/")[2],
        "model file of the potential (SHA-256)": None if potential is None else potential.sha256[:12],
        "head of the potential": None if potential is None else potential.head,
        "cell_freedom": None if document.pressure_GPa is None else document.dynamics.cell_freedom,
    }


def terms_per_kelvin(ladders: Sequence[StoredLadder]) -> tuple[float, float, float]:
    """Return mass, mixing and arrangement terms divided by the temperature, which are the same in all ladders."""
    names = ("mass_term_eV", "mixing_term_eV", "arrangement_term_eV")
    terms = np.array([[getattr(each.document, n) / each.document.temperature_K for n in names] for each in ladders])
    for name, values in zip(names, terms.T, strict=True):
        if np.ptp(values) > _SAME_TERM * np.abs(values).max():
            found = ", ".join(f"{each}: {value:.6g}" for each, value in zip(ladders, values, strict=True))
            raise InvalidInputError(f"the ladders cannot be combined: {name} per kelvin differs: {found}")
    mass, mixing, arrangement = (float(value) for value in terms[0])
    return mass, mixing, arrangement


def check_crystals(first: StoredLadder, one: CollectedLadder, second: StoredLadder, two: CollectedLadder) -> None:
    """Compare the start structures of two ladders, if they are stored, and their cells."""
    starts = [each.windows[0].parts[0].series.end() for each in (one, two)]
    if any("sites" not in start for start in starts):
        return
    cells = [start["sites_cell_A"] for start in starts]
    refused = f"{first} and {second} cannot be combined"
    freedom = None if first.document.pressure_GPa is None else first.document.dynamics.cell_freedom
    metrics = [cell @ cell.T / abs(np.linalg.det(cell)) ** (2 / 3) for cell in cells]
    allowed = {None: _SAME_CELL, "isotropic": _SAME_SHAPE}.get(freedom, _SIMILAR_SHAPE)
    if np.abs(metrics[1] - metrics[0]).max() > allowed * np.abs(metrics[0]).max():
        lengths = [", ".join(f"{x:.4f}" for x in np.linalg.norm(cell, axis=1)) for cell in cells]
        raise InvalidInputError(f"{refused}: the shapes of their cells differ: {lengths[0]} and {lengths[1]} Å")
    sites = [start["sites"] for start in starts]
    shift = sites[1] - sites[0]
    shift -= shift[0]
    shift -= np.round(shift)
    shift -= shift.mean(axis=0)
    moved = np.linalg.norm(shift @ cells[0], axis=1)
    distances = Lattice(cells[0]).get_all_distances(sites[0], sites[0]) + np.diag(np.full(len(moved), np.inf))
    nearest = distances.min(axis=1)
    if (moved > _MAX_SHIFT_SHARE * nearest).any():
        atom = int(np.argmax(moved / nearest))
        raise InvalidInputError(
            f"{refused}: they are of different crystals; atom {atom} is at another site, {moved[atom]:.2f} Å away"
        )


def common_lambdas(collected: Sequence[CollectedLadder]) -> list[float]:
    """Return all λ at which the samples of every ladder have energies."""
    grids = [{round(value, 9) for value in each.first.lambdas} for each in collected]
    return sorted(set.intersection(*grids))
