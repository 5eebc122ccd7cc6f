"""The hook of mkdocs that runs the tutorials: a failure ends the build, and outputs are on the page."""

from __future__ import annotations

import os
import runpy
from pathlib import Path

import pytest

from alchemflows.cli.example_files import Example

pytest.importorskip("nbclient", reason="the extra docs is not installed")
HOOK = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "tutorials.py"))
PluginError = HOOK["PluginError"]

SCRIPT = '''"""A title.

A summary.
"""

# %% Code
print("six", 2 * 3)

# %% A figure
import matplotlib.pyplot as plt

_ = plt.plot([1, 2])
'''


@pytest.fixture
def execute(tmp_path):
    def run(script: str):
        source = tmp_path / "short_one.py"
        source.write_text(script)
        example = Example("short-one", "A title.", "python short_one.py", (source,))
        return example, HOOK["executed"](example, tmp_path, dict(os.environ))

    return run


@pytest.mark.slow
def test_a_page_has_the_outputs(execute, tmp_path):
    example, run = execute(SCRIPT)
    text, figures = HOOK["page"](example, run)
    assert text.startswith("# A title\n") and "\nsix 6\n" in text
    assert list(figures) == ["short-one-1.svg"] and "<svg" in figures["short-one-1.svg"]
    assert "![A figure](short-one-1.svg)" in text
    kept = list(tmp_path.glob("*.ipynb"))
    assert len(kept) == 1
    changed, _ = execute(SCRIPT.replace("2 * 3", "2 * 4"))
    assert "six 8" in HOOK["page"](*execute(changed.script))[0]
    assert len(list(tmp_path.glob("*.ipynb"))) == 1 and not kept[0].exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "named"),
    [
        (SCRIPT.replace("2 * 3", "1 / 0"), "ZeroDivisionError"),
        (SCRIPT.replace("plt.plot([1, 2])", "1"), "no figure"),
        (SCRIPT.replace('print("six", 2 * 3)', "six = 6"), "prints nothing"),
        (SCRIPT.replace("2 * 3", "2 * 3)\nimport warnings\nwarnings.warn('seven'"), "seven"),
    ],
)
def test_a_failure_ends_the_build(execute, script, named):
    with pytest.raises(PluginError, match=named):
        HOOK["page"](*execute(script))


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("[a](../alchemflows/data/examples/scripts/ti.py)", "[a](tutorials/ti.md)"),
        ("[a](../../alchemflows/data/examples/scripts/own_crystal.py)", "[a](../tutorials/own-crystal.md)"),
        ("[a](../alchemflows/data/examples/scripts/ti.py#figure-2)", "[![](tutorials/ti-2.svg) a](tutorials/ti.md)"),
        ("[a](method.md) and `scripts/ti.py`", "[a](method.md) and `scripts/ti.py`"),
    ],
)
def test_links_to_scripts_lead_to_their_pages(link, shown):
    assert HOOK["on_page_markdown"](f"see {link}.", page=None) == f"see {shown}."
