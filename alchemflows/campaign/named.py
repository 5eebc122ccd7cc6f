"""Check that files and elements that a campaign file names exist; errors name the line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alchemflows.errors import InvalidInputError
from alchemflows.schemas.campaign import CampaignSpec
from alchemflows.schemas.substitution import mixtures
from alchemflows.structures.parsed import check_exists
from alchemflows.structures.species import check_symbol
from alchemflows.yaml_file import Place, YamlFile


def check_named(campaign: CampaignSpec, potentials: str | None, file: YamlFile) -> None:
    """Check the structure files and the elements of a campaign.

    Parameters
    ----------
    campaign
        The campaign, with paths from the current folder.
    potentials
        Argument of the method that holds chemical potentials, if there is one.
    file
        The file that it was read from.

    Raises
    ------
    InvalidInputError
        If a file does not exist or an element is unknown; the message names the line and the field.
    """
    for place, path in _files(campaign, potentials):
        with _located(file, place):
            check_exists(path)
    for place, symbol in _symbols(campaign, potentials):
        with _located(file, place):
            check_symbol(symbol)


@contextmanager
def _located(file: YamlFile, place: Place) -> Iterator[None]:
    """Add line and field to an error."""
    try:
        yield
    except InvalidInputError as error:
        raise InvalidInputError(f"{file.where(place)}: {'.'.join(map(str, place))}: {error}") from error


def _files(campaign: CampaignSpec, potentials: str | None) -> Iterator[tuple[Place, Path]]:
    """Yield the structure files with their places in the campaign file."""
    for name, spec in campaign.structures.items():
        if spec.file is not None:
            yield ("structures", name, "file"), spec.file
    place, references = _part(campaign, potentials, "references")
    for element, reference in references.items():
        if isinstance(reference, dict) and isinstance(reference.get("file"), str):
            yield (*place, element, "file"), Path(reference["file"])


def _symbols(campaign: CampaignSpec, potentials: str | None) -> Iterator[tuple[Place, str]]:
    """Yield the elements with their places in the campaign file."""
    for name, substitution in campaign.transformations.items():
        for source, mixture in mixtures(substitution).items():
            for symbol in (source, *mixture):
                yield ("transformations", name, source), symbol
    for part in ("references", "values_eV"):
        place, known = _part(campaign, potentials, part)
        for symbol in known:
            yield (*place, symbol), symbol


def _part(campaign: CampaignSpec, potentials: str | None, part: str) -> tuple[Place, dict]:
    """Return the place of a part of the chemical potentials, and its content; empty if it is not given."""
    given = campaign.method.arguments.get(potentials or "")
    value = given.get(part) if isinstance(given, dict) else None
    return ("method", "arguments", potentials or "", part), value if isinstance(value, dict) else {}
