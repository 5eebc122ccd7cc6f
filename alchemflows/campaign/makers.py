"""What a campaign can set of a flow maker: found from the annotations of its fields, and of the makers within it."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from functools import lru_cache
from types import SimpleNamespace, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from jobflow import Maker
from pydantic import BaseModel, ConfigDict, PydanticUserError, TypeAdapter, create_model
from pydantic import Field as ModelField
from pymatgen.core import Structure

from alchemflows.arguments import number_checked
from alchemflows.campaign.inputs import RelaxationSpec
from alchemflows.campaign.keys import NOT_SET
from alchemflows.descriptions import field_descriptions
from alchemflows.jobs.relax import AlchemicalRelaxMaker
from alchemflows.schemas.document import Document

#: Fields that the campaign sets, in the maker of the flow and in the makers that are fields of it.
CAMPAIGN_FIELDS = ("potential", "temperature", "pressure_GPa", "seed", "category")


def campaign_fields(maker: Any) -> set[str]:
    """Return the fields of a maker, and of makers within it, that the campaign sets."""
    found = {f.name for f in fields(maker)} & set(CAMPAIGN_FIELDS)
    for kind in nested_makers(maker).values():
        if not issubclass(kind, AlchemicalRelaxMaker):
            found |= campaign_fields(kind)
    return found


@lru_cache
def nested_makers(maker: Any) -> dict[str, type[Maker]]:
    """Return the class of each field of a maker that is a maker itself."""
    hints = _hints(maker)
    found = {}
    for each in fields(maker):
        for kind in alternatives(hints[each.name]):
            if isinstance(kind, type) and issubclass(kind, Maker) and is_dataclass(kind):
                found[each.name] = kind
    return found


def _hints(maker: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(maker.__mro__):
        names = vars(sys.modules[base.__module__]) if base.__module__ in sys.modules else {}
        found |= resolved(vars(base).get("__annotations__", {}), names)
    return found


class _Names(dict[str, Any]):
    """Names of a module; those that it imports for type checkers only are any type."""

    def __missing__(self, name: str) -> Any:
        return Structure if name == "Structure" else Any


def resolved(annotations: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """Return annotations whose names are resolved."""
    local = _Names({**vars(builtins), **names})
    return get_type_hints(SimpleNamespace(__annotations__=dict(annotations)), localns=local)


def alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the alternatives of an annotation."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


@lru_cache
def settings_model(maker: Any) -> type[BaseModel]:
    """Return the model of the settings of a maker: its fields, those of makers within it as mappings, and `relax`."""
    hints, texts, nested = _hints(maker), field_descriptions(maker), nested_makers(maker)
    known: dict[str, Any] = {}
    for each in fields(maker):
        if each.name in ("name", *CAMPAIGN_FIELDS) or (maker, each.name) in NOT_SET:
            continue
        text = texts.get(each.name)
        optional = type(None) in get_args(hints[each.name])
        if each.name in nested:
            kind: Any = nested[each.name]
            relaxes = issubclass(kind, AlchemicalRelaxMaker)
            inner: Any = RelaxationSpec if relaxes else settings_model(kind)
            known[each.name] = (inner | None if optional else inner, ModelField(None, description=text))
            if relaxes and optional:
                known["relax"] = (bool, ModelField(True, description=text))
        elif (accepted := plain(hints[each.name])) is not None:
            known[each.name] = (accepted, _model_field(each, text))
    return model_of(f"{maker.__name__}Settings", known)


def model_of(name: str, known: Mapping[str, Any]) -> type[BaseModel]:
    """Return a strict model with the given annotations and fields."""
    return create_model(name, __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **known)


def _model_field(each: Field[Any], text: str | None) -> Any:
    if is_needed(each):
        return ModelField(..., description=text)
    if each.default is not MISSING:
        return ModelField(each.default, description=text)
    assert each.default_factory is not MISSING
    return ModelField(default_factory=each.default_factory, description=text)


def is_needed(each: Field[Any]) -> bool:
    """Return whether a field has no default."""
    return each.default is MISSING and each.default_factory is MISSING


def plain(hint: Any) -> Any:
    """Return the annotation of a plain value in a file for an argument or field; None if a file cannot give it."""
    if _mentions_document(hint):
        return None
    try:
        TypeAdapter(hint).json_schema()
    except PydanticUserError:
        return None
    return number_checked(hint)


def _mentions_document(hint: Any) -> bool:
    if isinstance(hint, type) and get_origin(hint) is None:
        return issubclass(hint, Document | Structure)
    return any(_mentions_document(each) for each in get_args(hint))


def filled(maker: Any, settings: BaseModel | None, given: Mapping[str, Any]) -> Any:
    """Return a maker with settings, and with the values of the campaign for fields of it and of makers within it."""
    chosen = {} if settings is None else {name: getattr(settings, name) for name in settings.model_fields_set}
    own: Any = type(maker)
    nested = nested_makers(own)
    changes = {name: value for name, value in chosen.items() if name not in nested and name != "relax"}
    changes |= {each.name: given[each.name] for each in fields(maker) if each.name in given}
    for name, kind in nested.items():
        inner = getattr(maker, name)
        if name in chosen and chosen[name] is None:
            changes[name] = None
        elif not issubclass(kind, AlchemicalRelaxMaker):
            if inner is not None or name in chosen:
                changes[name] = filled(kind() if inner is None else inner, chosen.get(name), given)
        elif not chosen.get("relax", True):
            changes[name] = None
        elif name in chosen:
            changes[name] = _relaxation(kind() if inner is None else inner, chosen[name])
    return replace(maker, **changes)


def _relaxation(maker: Any, settings: RelaxationSpec) -> Any:
    changes = settings.model_dump(exclude_none=True)
    relax = {"fmax": changes.pop("fmax")} if "fmax" in changes else {}
    optimizer = {"optimizer": changes.pop("optimizer")} if "optimizer" in changes else {}
    changes["relax_kwargs"] = {**(maker.maker.relax_kwargs or {}), **relax}
    changes["optimizer_kwargs"] = {**(maker.maker.optimizer_kwargs or {}), **optimizer}
    return replace(maker, maker=replace(maker.maker, **changes))
