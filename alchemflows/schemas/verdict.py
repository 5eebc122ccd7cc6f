"""Whether a result may be trusted, and if not, why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, Field


class Verdict(BaseModel):
    """What the convergence checks of a result say together."""

    status: Literal["converged", "not converged"]
    reasons: list[str] = Field(default_factory=list, description="each check that failed, with its numbers")
    notes: list[str] = Field(
        default_factory=list, description="what a reader has to know that no check is against, such as rounding"
    )

    @classmethod
    def of(cls, reasons: Iterable[str], notes: Iterable[str] = ()) -> Verdict:
        """Return the verdict of a result: converged if there is no reason against it."""
        found = list(reasons)
        return cls(status="not converged" if found else "converged", reasons=found, notes=list(notes))

    @property
    def converged(self) -> bool:
        """Whether no check failed."""
        return self.status == "converged"
