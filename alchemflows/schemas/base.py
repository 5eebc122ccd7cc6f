"""What settings have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Self, TypeVar

from monty.json import MontyDecoder, MontyEncoder, MSONable
from pydantic import BaseModel, ConfigDict

Model = TypeVar("Model", bound="MakerField")


def _without_examples(schema: dict[str, Any]) -> None:
    """Keep the examples of a docstring out of a JSON schema."""
    if "description" in schema:
        schema["description"] = schema["description"].partition("\n\nExamples\n")[0]


class MakerField(BaseModel):
    """A pydantic model that may be the field of a maker.

    A job carries its maker as the owner of a bound method, and monty, which knows pydantic models elsewhere,
    would write them there as plain text. Not for output schemas: monty would take the class for an object.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_without_examples)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self  # jobflow copies the maker of each job; nothing in here can change

    def as_dict(self) -> dict[str, Any]:
        """Return the model as a dictionary that ``MontyDecoder`` turns back into it.

        Its content is one string: jobflow, FireWorks and monty walk through all that a job holds, several times.
        """
        return {"@module": type(self).__module__, "@class": type(self).__name__, "json": self.model_dump_json()}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """Return the model of :meth:`as_dict`, or of its fields, which is how monty writes a model elsewhere."""
        if "json" in d:
            return _read(cls, d["json"])
        return cls(**{name: value for name, value in d.items() if not name.startswith("@")})


@lru_cache(maxsize=256)
def _read(kind: type[Model], content: str) -> Model:
    """Read a model, which cannot change; FireWorks and jobflow read those of a job a dozen times while it runs."""
    return kind.model_validate_json(content)


class OneString(MSONable):
    """A maker whose fields are one string in its jobs, as those of a :class:`MakerField` are.

    For makers of thousands of jobs, without makers among their fields: jobflow would not find those in a string.
    """

    def as_dict(self) -> dict[str, Any]:
        """Return the maker as a dictionary that ``MontyDecoder`` turns back into it."""
        fields = super().as_dict()
        # The three keys that monty adds (seen in monty 2026.10.21).
        kind = {key: fields.pop(key) for key in ("@module", "@class", "@version")}
        return {**kind, "json": json.dumps(fields, cls=MontyEncoder)}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """Return the maker of :meth:`as_dict`, with the fields that jobflow has put beside the string."""
        fields = json.loads(d.get("json", "{}")) | {key: value for key, value in d.items() if key != "json"}
        decoded = MontyDecoder().process_decoded({k: v for k, v in fields.items() if not k.startswith("@")})
        return cls(**decoded)
