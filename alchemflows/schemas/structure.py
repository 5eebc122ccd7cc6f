"""Records of structures as they were read, before any computation."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from alchemflows.schemas.document import Document

#: Information of a file that can be lost in reading; each kind of loss can be accepted by its name.
Loss = Literal["fixed-atoms", "formula", "hydrogens", "masses", "occupancies", "symbols", "symmetry"]


class Vacancies(BaseModel):
    """Sites of one kind that are not fully occupied."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    occupancy: dict[str, float] = Field(description="elements and occupancies of each of the sites")
    n_sites: int
    fraction: float = Field(description="fraction of vacant sites")


class StructureRecord(Document):
    """Summary of a structure and of the file it was read from; stored in the metadata of jobs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str | None = Field(None, description="name of the file, without its folder; None for a structure in Python")
    sha256: str | None = Field(None, description="SHA-256 of the file")
    block: str | None = Field(None, description="data block or image that was read, if the file has several")
    reader: str = Field(description="parser of the file")
    formula: str = Field(description="reduced formula, vacancies left out")
    n_sites: int = Field(description="sites of the cell in the file")
    n_atoms: float = Field(description="sum of the occupancies in the cell")
    vacancies: list[Vacancies] = Field(default_factory=list)
    supercell: tuple[int, int, int] = Field((1, 1, 1), description="repeats of the cell")
    accepted: list[str] = Field(default_factory=list, description="losses that the user accepted, each as a sentence")
    notes: list[str] = Field(
        default_factory=list, description="messages of the parser, and changes such as rescaled occupancies"
    )

    @property
    def summary(self) -> str:
        """The composition in one line."""
        parts = [
            f"{self.n_sites} sites" + ("" if abs(self.n_atoms - self.n_sites) < 1e-3 else f", {self.n_atoms:g} atoms")
        ]
        for each in self.vacancies:
            held = "/".join(f"{symbol}{fraction:.4g}" for symbol, fraction in each.occupancy.items())
            parts.append(f"{100 * each.fraction:.3g} % vacancies on {each.n_sites} sites of {held}")
        if not self.vacancies:
            parts.append("no vacancies")
        text = f"{self.formula}, {', '.join(parts)}"
        if self.supercell != (1, 1, 1):
            text += f", repeated {'×'.join(map(str, self.supercell))}"
        return text
