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


def check_named(campaign: CampaignSpec, file: YamlFile) -> None:
    """Check the structure files and the elements of a campaign.

    Parameters
    ----------
    campaign
        The campaign, with paths from the current folder.
    file
        The file that it was read from.

    Raises
    ------
    InvalidInputError
        If a file does not exist or an element is unknown; the message names the line and the field.
    """
    for place, path in _files(campaign):
        with _located(file, place):
            check_exists(path)
    for place, symbol in _symbols(campaign):
        with _located(file, place):
            check_symbol(symbol)


@contextmanager
def _located(file: YamlFile, place: Place) -> Iterator[None]:
    """Add line and field to an error."""
    try:
        yield
    except InvalidInputError as error:
        raise InvalidInputError(f"{file.where(place)}: {'.'.join(map(str, place))}: {error}") from error


def _files(campaign: CampaignSpec) -> Iterator[tuple[Place, Path]]:
    """Yield the structure files with their places in the campaign file."""
    for name, spec in campaign.structures.items():
        if spec.file is not None:
            yield ("structures", name, "file"), spec.file
    for element, reference in _settings(campaign, "references").items():
        if isinstance(reference, dict) and isinstance(reference.get("file"), str):
            yield ("method", "settings", "references", element, "file"), Path(reference["file"])


def _symbols(campaign: CampaignSpec) -> Iterator[tuple[Place, str]]:
    """Yield the elements with their places in the campaign file."""
    for name, substitution in campaign.transformations.items():
        for source, mixture in mixtures(substitution).items():
            for symbol in (source, *mixture):
                yield ("transformations", name, source), symbol
    for setting in ("references", "chemical_potentials_eV"):
        for symbol in _settings(campaign, setting):
            yield ("method", "settings", setting, symbol), symbol


def _settings(campaign: CampaignSpec, name: str) -> dict:
    """Return a setting of the method that is a mapping; empty if it is not given."""
    value = campaign.method.settings.get(name)
    return value if isinstance(value, dict) else {}
