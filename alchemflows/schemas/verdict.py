"""The verdict on the convergence of a result, and its reasons."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, Field


class Verdict(BaseModel):
    """Combined result of all convergence checks."""

    status: Literal["converged", "not converged"]
    reasons: list[str] = Field(default_factory=list, description="each check that failed, with its numbers")
    notes: list[str] = Field(
        default_factory=list, description="information that is not a failed check, for example rounding"
    )

    @classmethod
    def of(cls, reasons: Iterable[str], notes: Iterable[str] = ()) -> Verdict:
        """Return the verdict: converged if there are no reasons against the result."""
        found = list(reasons)
        return cls(status="not converged" if found else "converged", reasons=found, notes=list(notes))

    @property
    def converged(self) -> bool:
        """Whether no check failed."""
        return self.status == "converged"
