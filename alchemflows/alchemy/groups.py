"""Define site groups: sites of a structure that change together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from monty.json import MSONable
from pymatgen.core import Element

from alchemflows.errors import InvalidInputError

MAX_ATOMIC_NUMBER = 118


@dataclass(frozen=True)
class SiteGroup(MSONable):
    """Sites that change together, and the possible elements on them.

    Parameters
    ----------
    sites
        Indices of the atoms, shape (n,).
    channels
        Atomic numbers, shape (number of channels, n). In channel c, atom ``sites[k]`` is the element
        ``channels[c][k]``. With a single channel, atoms disappear as its weight goes to zero.

    Raises
    ------
    InvalidInputError
        If there is no site or no channel, a site is given twice, or a channel has another length than `sites`.

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
            raise InvalidInputError("sites and channels: a site group needs at least one site and one channel")
        if len(set(self.sites)) != len(self.sites):
            raise InvalidInputError(f"sites: a site occurs twice in {list(self.sites)}; give each site once")
        for channel in self.channels:
            if len(channel) != len(self.sites):
                raise InvalidInputError(
                    f"channels: each channel needs one atomic number for each of the {len(self.sites)} sites; "
                    f"got {list(channel)}"
                )
            for number in channel:
                if not 1 <= number <= MAX_ATOMIC_NUMBER:
                    raise InvalidInputError(f"channels: {number} is not an atomic number (1 to {MAX_ATOMIC_NUMBER})")


def uniform_group(sites: Iterable[int], symbols: Sequence[str]) -> SiteGroup:
    """Return a site group with one channel per element, in which all sites have that element."""
    sites = tuple(sites)
    return SiteGroup(sites, tuple((Element(symbol).Z,) * len(sites) for symbol in symbols))
