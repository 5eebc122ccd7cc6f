"""Displacements of the atoms of a sampled crystal from their sites."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, Field

from alchemflows.schemas.reasons import Reason

#: Fraction of the distance to another site beyond which an atom has left its own site.
MAX_DISPLACEMENT_SHARE = 0.5
#: Largest fraction of the time that vibrations displace an atom this far.
MAX_TIME_AWAY = 0.05


class SitesSummary(BaseModel):
    """Displacements of a replica's atoms from their start sites, without the common translation of all atoms."""

    atom: int = Field(
        description="index of the atom with the largest displacement relative to the distance of another site"
    )
    element: str = Field(
        description="element of this atom in the given structure; in Monte Carlo the elements that may be on its site"
    )
    largest_displacement_A: float = Field(description="largest distance of this atom from its site")
    nearest_A: float = Field(description="distance from its site to the nearest other site or periodic image")
    time_away: float = Field(
        description="largest fraction of samples in which any atom was nearer to another site, or to an image, "
        "than to its site"
    )
    away_at_end: bool = Field(description="whether an atom was nearer to another site at the end")
    mean_shift_A: float = Field(description="largest distance of an atom's mean position from its site")

    @property
    def left(self) -> bool:
        """Whether an atom left its site, by melting or diffusion."""
        return self.time_away > MAX_TIME_AWAY or self.away_at_end

    def reasons(self, where: str) -> list[str]:
        """Return a reason against a result if atoms left their sites, and no reason otherwise."""
        if not self.left:
            return []
        return [
            Reason.MELTED.because(
                where=where,
                atom=self.atom,
                element=self.element,
                moved=self.largest_displacement_A,
                nearest=self.nearest_A,
                share=self.time_away,
            )
        ]


def worst(summaries: Sequence[SitesSummary]) -> SitesSummary:
    """Return the summary of the replica whose atoms were away from their sites most."""
    return max(summaries, key=lambda s: (s.left, s.time_away, s.largest_displacement_A / s.nearest_A))
