"""Bases of settings and makers, and how they are serialised in jobs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Self, TypeVar

from monty.json import MontyDecoder, MontyEncoder, MSONable
from pydantic import BaseModel, ConfigDict

Model = TypeVar("Model", bound="MakerField")


def _without_examples(schema: dict[str, Any]) -> None:
    """Remove the examples of a docstring from the description in a JSON schema."""
    if "description" in schema:
        schema["description"] = schema["description"].partition("\n\nExamples\n")[0]


class MakerField(BaseModel):
    """Base of pydantic models that are fields of makers.

    A job stores its maker as the owner of a bound method, and there monty would write pydantic models as plain text.
    Do not use it for output schemas: monty would treat the class as an instance.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_without_examples)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self  # jobflow copies the maker of each job; the model is immutable

    def as_dict(self) -> dict[str, Any]:
        """Return the model as a dictionary that ``MontyDecoder`` decodes.

        The fields are one string, since jobflow, FireWorks and monty traverse the content of a job several times.
        """
        return {"@module": type(self).__module__, "@class": type(self).__name__, "json": self.model_dump_json()}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """Return the model from the dictionary of :meth:`as_dict`, or of its fields as monty writes them elsewhere."""
        if "json" in d:
            return _read(cls, d["json"])
        return cls(**{name: value for name, value in d.items() if not name.startswith("@")})


@lru_cache(maxsize=256)
def _read(kind: type[Model], content: str) -> Model:
    """Read an immutable model; cached, since FireWorks and jobflow read it about a dozen times per job."""
    return kind.model_validate_json(content)


class OneString(MSONable):
    """Base of makers whose fields are stored as one string in their jobs, like those of :class:`MakerField`.

    For makers of thousands of jobs. None of their fields may be a maker, since jobflow would not find it in the string.
    """

    def as_dict(self) -> dict[str, Any]:
        """Return the maker as a dictionary that ``MontyDecoder`` decodes."""
        fields = super().as_dict()
        # The three keys that monty adds (seen in monty 2026.10.21).
        kind = {key: fields.pop(key) for key in ("@module", "@class", "@version")}
        return {**kind, "json": json.dumps(fields, cls=MontyEncoder)}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """Return the maker from the dictionary of :meth:`as_dict`, with fields that jobflow added beside the string."""
        fields = json.loads(d.get("json", "{}")) | {key: value for key, value in d.items() if key != "json"}
        decoded = MontyDecoder().process_decoded({k: v for k, v in fields.items() if not k.startswith("@")})
        return cls(**decoded)
