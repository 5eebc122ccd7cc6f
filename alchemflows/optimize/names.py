"""Names of the quantities that can be targets of an optimization, without torch: names are checked first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.choices import suggestion
from alchemflows.errors import InvalidInputError
from alchemflows.optimize.response import CellRelaxation

#: Names of stresses, in the order of :data:`~alchemflows.alchemy.interfaces.VOIGT`.
STRESSES = ("xx", "yy", "zz", "yz", "xz", "xy")
BULK_MODULUS = "bulk_modulus_GPa"
#: Relaxations that leave no stress; `axes` and `isotropic` do so only if symmetry allows no other strains.
WITHOUT_STRESS: tuple[CellRelaxation, ...] = ("full", "axes", "isotropic")


def names_of(system: AlchemicalSystem, relaxation: CellRelaxation = "none") -> list[str]:
    """Return the names of the quantities of a relaxed crystal; the bulk modulus is defined only without stress."""
    plain = ["a_A", "b_A", "c_A", "volume_A3", "energy_eV_per_atom"]
    stresses = [f"stress_{name}_GPa" for name in (*STRESSES, "in_plane")]
    names = [*plain, *stresses, "pressure_GPa", *(name for name, _, _, _ in chemical_potential_differences(system))]
    return [*names, BULK_MODULUS] if relaxation in WITHOUT_STRESS else names


def chemical_potential_differences(system: AlchemicalSystem) -> Iterator[tuple[str, int, int, int]]:
    """Yield the name of each chemical potential difference, the indices of its two weights, and its number of sites."""
    first = 0
    for g, group in enumerate(system.groups):
        for i in range(len(group.channels)):
            for j in range(i):
                yield f"mu_{g}_{i}_{j}_eV", first + i, first + j, len(group.sites)
        first += len(group.channels)


def unknown(name: object, known: Iterable[str]) -> InvalidInputError:
    """Return the error for an unknown quantity, or one that is not defined for the chosen relaxation."""
    if name == BULK_MODULUS:
        return InvalidInputError(
            f"{name} is defined only for a crystal without stress; set the relaxation to one of "
            f"{', '.join(WITHOUT_STRESS)}"
        )
    words = list(known)
    similar = suggestion(str(name), words)
    return InvalidInputError(f"unknown quantity {name!r}; choose from {', '.join(words)}{similar}")
