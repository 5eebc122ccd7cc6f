"""A hook of mkdocs: run each example script as a notebook, and make a page of its cells and their outputs.

The pages are ``tutorials/<example>.md``; they must be in the `nav` of ``mkdocs.yml``. A cell that fails, and a tutorial
without text or figures as output, ends the build. Set ``ALCHEMFLOWS_SHORT`` to run only a few steps. Executed notebooks
are kept in ``build/tutorials`` and used again until a script, the package or a library changes.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import os
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

import alchemflows
from alchemflows.cli.example_files import SHOW_FIGURES, Example, cells_of, examples, notebook

#: Cells may take this time (s).
TIMEOUT_S = 3600
VECTOR_GRAPHICS = "%config InlineBackend.figure_formats = ['svg']"
SHORT_NOTE = (
    "!!! warning\n    This page was built with `ALCHEMFLOWS_SHORT`: only a few steps were run, and its numbers are "
    "meaningless.\n\n"
)
#: A link to the script of an example, from a page in `docs` or in a folder of it.
_SCRIPT_LINK = re.compile(
    r"\[(?P<text>[^\]]*)\]\(\.\./(?P<up>(\.\./)*)alchemflows/data/examples/scripts/(?P<stem>\w+)\.py(#figure-(?P<figure>\d+))?\)"
)
log = logging.getLogger("mkdocs.hooks.tutorials")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page, and the files of its figures, for each example with a script."""
    chosen = [example for example in examples().values() if example.script is not None]
    chosen.sort(key=lambda example: -len(example.script))  # the longest scripts take longest, so they start first
    cache = Path(config.config_file_path).parent / "build" / "tutorials"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        environment = _environment(Path(home))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            made = list(pool.map(lambda example: executed(example, cache, environment), chosen))
        if (Path(home) / "mongod").exists():
            raise PluginError("a tutorial started the private database, although none of them should need it")
    for example, run in zip(chosen, made, strict=True):
        text, figures = page(example, run)
        files.append(File.generated(config, f"tutorials/{example.name}.md", content=text))
        for name, image in figures.items():
            files.append(File.generated(config, f"tutorials/{name}", content=image))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page whose links to scripts of examples, which exist in the repository, lead to the pages made of them.

    A link to ``script.py#figure-2`` gets the second figure of the tutorial in front of its text.
    """

    def link(found: re.Match[str]) -> str:
        name = found["stem"].replace("_", "-")
        place = f"{found['up']}tutorials/{name}"
        figure = f"![]({place}-{found['figure']}.svg) " if found["figure"] else ""
        return f"[{figure}{found['text']}]({place}.md)"

    return _SCRIPT_LINK.sub(link, markdown)


def _environment(home: Path) -> dict[str, str]:
    """Return the environment of a user without a configured database, whose commands are those of this Python."""
    kept = {k: v for k, v in os.environ.items() if k not in ("JOBFLOW_CONFIG_FILE", "FW_CONFIG_FILE")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {"OMP_NUM_THREADS": "1"} | kept | {"PATH": path, "ALCHEMFLOWS_HOME": str(home), "COLUMNS": "110"}


def executed(example: Example, cache: Path, environment: dict[str, str]) -> nbformat.NotebookNode:
    """Return the notebook of an example with its outputs, from the cache if nothing has changed.

    Raises
    ------
    PluginError
        If a cell fails.
    """
    kept = cache / f"{example.name}-{_key(example)}.ipynb"
    if kept.is_file():
        return nbformat.read(kept, as_version=4)
    started = time.monotonic()
    made = nbformat.reads(notebook(example.script), as_version=4)
    made.cells[1].source = f"{VECTOR_GRAPHICS}\n{SHOW_FIGURES}"
    with tempfile.TemporaryDirectory() as folder:
        example.write(Path(folder))
        client = NotebookClient(made, timeout=TIMEOUT_S, resources={"metadata": {"path": folder}})
        try:
            client.execute(env=environment)
        except (CellExecutionError, DeadKernelError, TimeoutError) as error:
            raise PluginError(f"the tutorial {example.name} failed: {error}") from None
    log.info("tutorial %s: %.0f s", example.name, time.monotonic() - started)
    for old in cache.glob(f"{example.name}-*.ipynb"):
        old.unlink()
    nbformat.write(made, kept)
    return made


def _key(example: Example) -> str:
    """Return a hash of everything that the outputs depend on."""
    sources = sorted(Path(alchemflows.__file__).parent.rglob("*.py"))
    libraries = sorted(f"{each.name}=={each.version}" for each in importlib.metadata.distributions())
    parts = [str("ALCHEMFLOWS_SHORT" in os.environ), *libraries, *example.contents().values()]
    return hashlib.sha256("\0".join([*parts, *(path.read_text() for path in sources)]).encode()).hexdigest()[:16]


def page(example: Example, run: nbformat.NotebookNode) -> tuple[str, dict[str, str]]:
    """Return the page of an executed notebook in Markdown, and its figures (SVG) by the names of their files.

    Raises
    ------
    PluginError
        If it has no output of text or no figure, or if a cell prints a warning.
    """
    outputs = iter([cell.outputs for cell in run.cells if cell.cell_type == "code"][1:])
    parts: list[str] = []
    figures: dict[str, str] = {}
    heading = ""
    for kind, text in cells_of(example.script):
        if kind == "markdown":
            heading = text.partition("\n")[0].strip("# ") if text.startswith("#") else heading
            parts.append(text)
            continue
        parts.append(f"```python\n{text}\n```")
        of_cell = next(outputs)
        if warned := _warnings(of_cell):
            raise PluginError(f"the tutorial {example.name} prints a warning: {warned}")
        printed, shown = _outputs(of_cell)
        if printed:
            parts.append(f'```{{.text .output title="Output"}}\n{printed}\n```')
        for image in shown:
            name = f"{example.name}-{len(figures) + 1}.svg"
            figures[name] = image
            parts.append(f"![{heading}]({name}){{ .figure }}")
    if not figures or not any("{.text .output" in part for part in parts):
        raise PluginError(f"the tutorial {example.name} has no figure, or prints nothing")
    parts.insert(1, f"`alchemflows example {example.name}` writes this page as a script and a notebook.")
    note = SHORT_NOTE if "ALCHEMFLOWS_SHORT" in os.environ else ""
    title, *rest = parts
    return f"{title}\n\n{note}" + "\n\n".join(rest) + "\n", figures


def _warnings(outputs: list[nbformat.NotebookNode]) -> str:
    """Return what a cell printed to stderr, except the advice of tqdm to install ipywidgets."""
    printed = "".join(each.text for each in outputs if each.output_type == "stream" and each.name == "stderr")
    return re.sub(r".*IProgress not found.*\n.*\n?", "", printed).strip()


def _outputs(outputs: list[nbformat.NotebookNode]) -> tuple[str, list[str]]:
    """Return what a cell printed, without warnings, and its figures (SVG)."""
    printed = [each.text for each in outputs if each.output_type == "stream" and each.name == "stdout"]
    shown = []
    for each in outputs:
        data = each.get("data", {})
        if "image/svg+xml" in data:
            shown.append(data["image/svg+xml"])
        elif "text/plain" in data:
            printed.append(data["text/plain"])
    return "".join(printed).rstrip(), shown
