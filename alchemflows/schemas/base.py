"""What settings have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class MakerField(BaseModel):
    """A pydantic model that may be the field of a maker.

    A job carries its maker as the owner of a bound method, and monty, which knows pydantic models elsewhere,
    would write them there as plain text. Not for output schemas: monty would take the class for an object.
    """

    def as_dict(self) -> dict[str, Any]:
        """Return the model as a dictionary that ``MontyDecoder`` turns back into it."""
        return {"@module": type(self).__module__, "@class": type(self).__name__, **self.model_dump(mode="json")}
