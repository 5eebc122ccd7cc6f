"""The potential of a command without --potential."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from alchemflows.errors import InvalidInputError
from alchemflows.schemas.potential import DEMO, DEMO_NOTE

if TYPE_CHECKING:
    from pymatgen.core import Structure


class Family(NamedTuple):
    """Crystals that mace-demo was made for, pure and mixed; the numbers are from its model card (docs/mace-demo.md).

    Attributes
    ----------
    cations, anion
        Elements; the anion is empty for a metal.
    anion_fraction
        Share of the anion in all sites.
    volumes_A3
        Smallest and largest volume per site of the relaxed pure compounds.
    """

    cations: frozenset[str]
    anion: str
    anion_fraction: float
    volumes_A3: tuple[float, float]


FAMILIES = (
    Family(frozenset({"Cs", "Pb", "Sn"}), "I", 3 / 5, (47.6, 52.2)),
    Family(frozenset({"Li", "Na", "K"}), "Cl", 1 / 2, (17.0, 32.6)),
    Family(frozenset({"Fe"}), "", 0.0, (11.4, 11.5)),
    Family(frozenset({"Ce", "Zr", "Sn"}), "O", 2 / 3, (11.3, 13.6)),
    Family(frozenset({"Al", "Ga", "Sc"}), "N", 1 / 2, (10.6, 13.5)),
)
#: By how much the volume may be outside the range of its family.
_VOLUME_TOLERANCE = 0.1


def default_potential(
    configured: str | None, structures: Sequence[Structure], substitutes: Iterable[str], name: str
) -> str:
    """Return the name of the potential for structures, if the user gave none.

    Parameters
    ----------
    configured
        Potential of the configuration (:class:`~alchemflows.settings.Settings`), or None.
    structures
        Structures of the calculation.
    substitutes
        Further elements that sites may become.
    name
        Name of the first structure, for messages.

    Raises
    ------
    InvalidInputError
        If none is configured and mace-demo was not made for these structures; the message says what can be chosen.
    """
    if configured is not None:
        return configured
    further = set(substitutes)
    if all(_known(structure, further) for structure in structures):
        print(
            f"potential: {DEMO_NOTE}; choose another with --potential",
            file=sys.stderr,
        )
        return DEMO
    elements = further.union(*({element.symbol for element in structure.elements} for structure in structures))
    unknown = elements.difference(*(family.cations | {family.anion} for family in FAMILIES))
    why = f"was not made for {', '.join(sorted(unknown))}" if unknown else "was not made for this crystal"
    licence = "GPL-3" if find_spec("sevenn") else 'GPL-3, pip install "alchemflows[sevennet]"'
    chgnet = "BSD" if find_spec("chgnet") else 'BSD, pip install "alchemflows[chgnet]"'
    raise InvalidInputError(
        f"{name}: choose a potential, since {DEMO} {why}: --potential sevennet-0 ({licence}); chgnet ({chgnet}); "
        "small or medium-mpa-0 (MIT) or small-omat-0 (academic licence), which mace-torch downloads; or the path of a "
        "model file. ALCHEMFLOWS_POTENTIAL, or potential in ~/.alchemflows.yaml, sets a default"
    )


def _known(structure: Structure, substitutes: set[str]) -> bool:
    """Tell whether a structure, also with its substitutes, is like those that mace-demo was made for."""
    elements = {element.symbol for element in structure.elements} | substitutes
    sites = len(structure)
    for family in FAMILIES:
        if not elements <= family.cations | {family.anion}:
            continue
        anions = structure.composition[family.anion] if family.anion else 0.0
        low, high = family.volumes_A3
        fits = low * (1 - _VOLUME_TOLERANCE) <= structure.volume / sites <= high * (1 + _VOLUME_TOLERANCE)
        if fits and abs(anions / sites - family.anion_fraction) < 1e-6:
            return True
    return False
