"""Find site labels of a CIF that imply hydrogen atoms, such as those of water and hydroxide."""

from __future__ import annotations

import re
from collections.abc import Collection

#: Elements whose labels may name hydrogen atoms that are bound to them.
CARRIERS = ("O", "N", "C", "S")
#: Longest bond (Å) of a hydrogen atom to one of these elements: S–H has 1.35.
LONGEST_BOND_A = 1.4
#: Letters of labels of oxygen in water, without digits and punctuation: OW, O1W, W1, WO, Wat, Aq, OAq.
_WATER = re.compile(r"o?w[a-z]?|wo", re.I)
#: Letters that mean water whatever the elements of the file are.
_CERTAINLY_WATER = re.compile(r"o?(wat|aq)", re.I)


def implies_hydrogen(label: str, symbol: str, elements: Collection[str], labels: Collection[str]) -> bool:
    """Return whether the label of a site means that hydrogen atoms are bound to it.

    Examples are ``OW1``, ``O1w``, ``O(1W)``, ``Wat1`` and ``Aq`` of water, ``OH1``, ``O1H`` and ``O-H`` of hydroxide,
    ``H2O`` and ``HOH``, ``NH4`` and ``C1H3``. The label names something else if the letters after its element are
    another element of the file, as in ``OW1`` of a tungstate or ``OHf1``, or if they continue an alphabetical series,
    as in ``O1H`` beside ``O1G``.

    Parameters
    ----------
    label
        Label of the site.
    symbol
        Element of the site.
    elements
        Elements in the file.
    labels
        Labels of all sites.
    """
    if symbol not in CARRIERS:
        return False
    letters = re.sub(r"[^A-Za-z]", "", label)
    if symbol == "O" and _CERTAINLY_WATER.match(letters):
        return True
    rest = letters.lower().removeprefix(symbol.lower())
    if any(rest.startswith(each.lower()) for each in elements if each not in ("", "H")):
        return False
    if re.search(r"\d\W*[A-Z]$", label) and _previous(label) in labels:
        return False
    if re.match(rf"{symbol}[^A-Za-z]*H|H\d*{symbol}", label, re.I):
        return True
    return symbol == "O" and _WATER.fullmatch(letters) is not None


def _previous(label: str) -> str:
    """Return the label whose last letter is the one before, such as O1G for O1H."""
    return label[:-1] + chr(ord(label[-1]) - 1)
