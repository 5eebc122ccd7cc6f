"""Links of README and docs: each leads to a file of the repository, where the pages are read too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md"))
    if path.parent.name != "build"
)


def links(text: str) -> list[str]:
    """Return the targets of links and images that are no addresses, without places in the page."""
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"\]\(([^)\s]+)\)", prose)
    return [target.partition("#")[0] for target in targets if not re.match(r"https?:|mailto:|#", target)]


def test_links_are_found():
    text = "[a](b.md#c) ![d](e.png) [f](https://g.h) [i](#j) `[k](l.md)`\n```text\n[m](n)\n```\n"
    assert links(text) == ["b.md", "e.png"]
    assert sum(len(links(page.read_text())) for page in PAGES) > 100


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_link_leads_to_a_file(page):
    assert [target for target in links(page.read_text()) if not (page.parent / target).exists()] == []
