"""Site groups: sites that change together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from monty.json import MSONable
from pymatgen.core import Element

from alchemflows.errors import InvalidInputError

MAX_ATOMIC_NUMBER = 118


@dataclass(frozen=True)
class SiteGroup(MSONable):
    """Sites that change together, with the elements that they may be.

    Parameters
    ----------
    sites
        Indices of the atoms, shape (n,).
    channels
        Atomic numbers, shape (number of channels, n): channel c makes atom ``sites[k]`` the element
        ``channels[c][k]``. A single channel is a species that vanishes with its weight.

    Raises
    ------
    InvalidInputError
        If a site is named twice, no channel is given, or a channel has another length than `sites`.

    Examples
    --------
    >>> from alchemflows import SiteGroup
    >>> SiteGroup(sites=(0, 1), channels=((11, 11), (19, 19)))  # both sites are Na, or both are K
    SiteGroup(sites=(0, 1), channels=((11, 11), (19, 19)))
    """

    sites: tuple[int, ...]
    channels: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "sites", tuple(int(site) for site in self.sites))
        object.__setattr__(self, "channels", tuple(tuple(int(z) for z in c) for c in self.channels))
        if not self.sites or not self.channels:
            raise InvalidInputError("a site group needs at least one site and one channel")
        if len(set(self.sites)) != len(self.sites):
            raise InvalidInputError(f"a site group names a site twice: {list(self.sites)}")
        for channel in self.channels:
            if len(channel) != len(self.sites):
                raise InvalidInputError("a channel needs one atomic number for each site of its group")
            for number in channel:
                if not 1 <= number <= MAX_ATOMIC_NUMBER:
                    raise InvalidInputError(f"{number} is not an atomic number")


def uniform_group(sites: Iterable[int], symbols: Sequence[str]) -> SiteGroup:
    """Return a site group whose channels each make all sites one element."""
    sites = tuple(sites)
    return SiteGroup(sites, tuple((Element(symbol).Z,) * len(sites) for symbol in symbols))
