"""How far the atoms of a sampled crystal were from their sites."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, Field

#: Beyond this share of the way to another site, an atom is no longer on its own.
MAX_DISPLACEMENT_SHARE = 0.5
#: A vibration carries an atom so far for less than this share of the time.
MAX_TIME_AWAY = 0.05


class SitesSummary(BaseModel):
    """Displacements of a replica's atoms from the sites of its start, without the motion of all atoms together."""

    atom: int = Field(description="index of the atom that went farthest towards another site, for the distance of that")
    element: str = Field(description="element at that site in the given structure")
    largest_displacement_A: float = Field(description="its largest distance from its site")
    nearest_A: float = Field(description="distance from its site to the nearest other one, or to its own image")
    time_away: float = Field(
        description="largest share of the samples, of any atom, in which it was nearer to another site, or to an image "
        "of its own, than to its site"
    )
    away_at_end: bool = Field(description="whether an atom was nearer to another site at the end")
    mean_shift_A: float = Field(description="largest distance of an atom's mean position from its site")

    @property
    def left(self) -> bool:
        """Whether an atom left its site: the crystal melted, or an atom diffused."""
        return self.time_away > MAX_TIME_AWAY or self.away_at_end

    def reasons(self, where: str) -> list[str]:
        """Return what speaks against a result in which the atoms moved so, if anything."""
        if not self.left:
            return []
        return [
            f"{where}: the crystal melted, or atoms left their sites: atom {self.atom} ({self.element}) was "
            f"{self.largest_displacement_A:.1f} Å from its site, the next is {self.nearest_A:.1f} Å away; an atom was "
            f"nearer to another site than to its own in {self.time_away:.0%} of the samples"
        ]


def worst(summaries: Sequence[SitesSummary]) -> SitesSummary:
    """Return the summary of the replica whose atoms were away most."""
    return max(summaries, key=lambda s: (s.left, s.time_away, s.largest_displacement_A / s.nearest_A))
