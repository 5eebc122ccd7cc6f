"""Versions of documents: older ones are migrated wherever they are read, newer ones refused."""

from __future__ import annotations

import json

import pytest
from monty.json import MontyEncoder, jsanitize

from alchemflows.errors import DocumentVersionError
from alchemflows.schemas import document
from alchemflows.schemas.document import Document, current_version, decoded, migrated, migration


class Length(Document):
    """A document whose versions 0 and 1 had other fields."""

    length_A: float


class Lengths(Document):
    """A document with others within it."""

    lengths: list[Length]


@pytest.fixture
def steps(monkeypatch):
    """Version 0 had `length_nm`, version 1 `length`, both under names that are no more."""
    monkeypatch.setattr(document, "MIGRATIONS", {})

    @migration("Length", 0)
    def _to_angstrom(content):
        return {"length": 10 * content.pop("length_nm")}

    @migration("Length", 1)
    def _unit_in_name(content):
        content["length_A"] = content.pop("length")
        return content


@pytest.mark.parametrize(
    "old",
    [{"schema_version": 0, "length_nm": 0.3}, {"schema_version": 1, "length": 3.0}, {"length_A": 3.0}],
    ids=["two steps", "one step", "none"],
)
def test_older_documents_are_read(steps, old):
    """By name of the class, by jobflow's mark, and within another document."""
    wanted = Length(length_A=3.0)
    assert (current_version("Length"), current_version("Lengths"), wanted.schema_version) == (2, 1, 2)
    marked = {"@module": __name__, "@class": "Length", "@version": None, **old}
    before = dict(old)
    assert Length.read(old) == Length.read(marked) == Length(**old) == decoded(marked) == wanted
    assert Lengths.read({"lengths": [old]}).lengths == decoded({"x": [marked]})["x"] == [wanted]
    assert old == before  # what is stored is left as it is


def test_values_other_than_dictionaries_are_unchanged():
    here = Length(length_A=3.0)
    assert Length.read(here) is here and Length.read(None) is None


def test_written_documents_have_their_version(steps):
    for written in (
        jsanitize(Length(length_A=3.0), strict=True),
        json.loads(MontyEncoder().encode(Length(length_A=1))),
    ):
        assert written["schema_version"] == 2
    assert jsanitize(Lengths(lengths=[]), strict=True)["schema_version"] == 1


@pytest.mark.parametrize(
    ("made", "command"),
    [({}, "pip install --upgrade alchemflows"), ({"versions": {"alchemflows": "9.8.7"}}, "alchemflows>=9.8.7")],
)
def test_a_newer_document_is_refused_with_what_to_install(made, command):
    newer = {"schema_version": 2, "length_A": 3.0, "provenance": made}
    marked = {"@module": __name__, "@class": "Length", **newer}
    for read in (
        lambda: Length.read(newer),
        lambda: Length(**newer),
        lambda: migrated("Length", newer),
        lambda: decoded(marked),
        lambda: Lengths.read({"lengths": [newer]}),
    ):
        with pytest.raises(DocumentVersionError, match="Length") as error:
            read()
        assert command in str(error.value) and " 2," in str(error.value)


def test_a_version_without_a_step_is_refused():
    with pytest.raises(DocumentVersionError, match="0"):
        Length.read({"schema_version": 0, "length_A": 3.0})


@pytest.mark.parametrize("version", [None, "1", 1.5])
def test_a_version_that_is_no_whole_number_is_refused(version):
    with pytest.raises(DocumentVersionError, match=f"Length.*schema_version.*{version}"):
        Length.read({"schema_version": version, "length_A": 3.0})


def test_a_version_may_be_a_double(steps):
    """MongoDB's shell writes whole numbers as doubles."""
    assert Length.read({"schema_version": 1.0, "length": 3.0}) == Length(length_A=3.0)
    with pytest.raises(DocumentVersionError, match="3"):
        Length.read({"schema_version": 3.0, "length_A": 3.0})


def test_steps_of_this_release_are_without_gaps():
    for kind in {kind for kind, _ in document.MIGRATIONS}:
        assert {version for name, version in document.MIGRATIONS if name == kind} == set(
            range(1, current_version(kind))
        )
