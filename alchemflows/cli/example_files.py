"""The examples that ship with the package: which files each has, and how it is run."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from alchemflows.choices import suggestion
from alchemflows.errors import InvalidInputError
from alchemflows.output_file import make_folder

FOLDER = Path(str(files("alchemflows") / "data" / "examples"))

#: First cell of code of a notebook.
SHOW_FIGURES = "%matplotlib inline"
_RELATIVE_LINK = re.compile(r"\[([^]]+)\]\((?!https?:)[^)]+\)")

#: Files that each script reads, in the order of the documentation.
_SCRIPTS: dict[str, tuple[str, ...]] = {
    "ti": ("CsPbI3.cif",),
    "own_crystal": ("NaCl.cif",),
    "verdict": ("NaCl.cif",),
    "temperatures": ("NaCl.cif",),
    "switching": ("CsPbI3.cif",),
    "correction": ("NaCl.cif",),
    "committee": ("NaCl.cif",),
    "frenkel_ladd": ("NaCl.cif",),
    "temperature_sweep": ("NaCl.cif",),
    "pressure_sweep": ("NaCl.cif",),
    "melting": ("NaCl.cif",),
    "phases": ("CsPbI3.cif", "CsPbI3_delta.cif"),
    "vacancy": ("Fe.cif",),
    "defect_pairs": ("KCl.cif", "CeO2.cif"),
    "sweep": ("CeO2.cif",),
    "optimization": ("NaCl.cif",),
    "order_disorder": ("Na0.5K0.5Cl.cif",),
    "ordering": ("Na0.5K0.5Cl.cif",),
    "monte_carlo": ("Ce0.5Zr0.5O2.cif",),
    "transition": ("Ce0.5Zr0.5O2.cif",),
    "mixing": ("NaCl.cif",),
    "campaign_on_a_cluster": ("salts.yaml", "NaCl.cif"),
    "own_potential": ("NaCl.cif",),
    "calculator": ("NaCl.cif",),
}


#: Begins a cell of a script.
_CELL = "\n# %%"


@dataclass(frozen=True)
class Example:
    """Files that are written together.

    Attributes
    ----------
    name
        Name on the command line.
    summary
        One sentence.
    command
        Command that uses the files, in their folder.
    sources
        The files in the package; a script with cells (``# %%``) is also written as a notebook.
    """

    name: str
    summary: str
    command: str
    sources: tuple[Path, ...]

    @property
    def script(self) -> str | None:
        """The text of the Python script with cells; none if there is no script."""
        texts = (source.read_text(encoding="utf-8") for source in self.sources if source.suffix == ".py")
        return next((text for text in texts if _CELL in text), None)

    def contents(self) -> dict[str, str]:
        """Return the text of each file to write, by its name."""
        made = {source.name: source.read_text(encoding="utf-8") for source in self.sources}
        for name, text in list(made.items()):
            if name.endswith(".py") and _CELL in text:
                made[f"{name.removesuffix('.py')}.ipynb"] = notebook(text)
        return made

    def write(self, folder: Path) -> list[Path]:
        """Write the files into a folder, which is created if needed, and return their paths.

        Raises
        ------
        InvalidInputError
            If one of the files exists, before any is written; if the folder cannot be created or written.
        """
        contents = {folder / name: text for name, text in self.contents().items()}
        there = [str(path) for path in contents if path.exists()]
        if there:
            raise InvalidInputError(
                f"these files exist already: {', '.join(there)}; remove them or name another folder"
            )
        make_folder(folder)
        for path, text in contents.items():
            path.write_text(text, encoding="utf-8")
        return list(contents)


def examples() -> dict[str, Example]:
    """Return all examples by name."""
    structures = tuple(sorted((FOLDER / "structures").glob("*.cif")))
    found = [
        Example(
            "structures",
            "Structure files (CIF): all crystals of the examples and of the documentation.",
            "alchemflows ti CsPbI3.cif Pb:Sn --supercell 2 2 2 -T 400 --potential mace-demo",
            structures,
        ),
        Example(
            "campaign",
            "Run many calculations from one YAML file.",
            "alchemflows campaign check salts.yaml && alchemflows campaign submit salts.yaml",
            (_file("salts.yaml"), _file("NaCl.cif")),
        ),
    ]
    kinds = FOLDER / "campaigns"
    used = ("NaCl", "KCl", "Na0.5K0.5Cl", "CsPbI3", "CsPbI3_delta", "Fe", "CeO2")
    found.append(
        Example(
            "campaign-kinds",
            "A campaign file of each method: switching, defects, sweeps, phases, a maker of your own, and more.",
            "PYTHONPATH=. alchemflows campaign check volumes.yaml",
            (*sorted(kinds.glob("*.yaml")), kinds / "volumes.py", *(_file(f"{name}.cif") for name in used)),
        )
    )
    for stem, names in _SCRIPTS.items():
        script = FOLDER / "scripts" / f"{stem}.py"
        summary = (ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or "").partition("\n")[0]
        sources = (script, *map(_file, names))
        found.append(Example(stem.replace("_", "-"), summary, f"python {script.name}", sources))
    return {example.name: example for example in found}


def find_example(name: str) -> Example:
    """Return the example of a name.

    Raises
    ------
    InvalidInputError
        If there is none; the message lists the names.
    """
    known = examples()
    if name not in known:
        raise InvalidInputError(f"no example {name!r}; examples: {', '.join(known)}{suggestion(name, known)}")
    return known[name]


def describe(cif: str) -> str:
    """Return what the first line of a structure file of the examples says."""
    return cif.partition("\n")[0].removeprefix("#").strip()


def notebook(script: str) -> str:
    """Return a Jupyter notebook (JSON, nbformat 4.5) of a script with a docstring and cells that begin with ``# %%``.

    The docstring, the titles behind ``# %%`` and the comments behind ``# %% [markdown]`` become cells of text, in which
    links to pages of the documentation are replaced by their text. The first cell of code makes figures visible.
    """
    cells = [_cell(kind, _RELATIVE_LINK.sub(r"\1", text)) for kind, text in cells_of(script)]
    cells.insert(1, _cell("code", SHOW_FIGURES))
    for k, cell in enumerate(cells):
        cell["id"] = f"cell-{k}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def cells_of(script: str) -> list[tuple[str, str]]:
    """Return kind (``markdown`` or ``code``) and text of each cell of a script."""
    docstring = ast.get_docstring(ast.parse(script)) or ""
    title, _, rest = docstring.partition("\n")
    cells = [("markdown", f"# {title.rstrip('.')}\n{rest}".strip())]
    for part in re.split(r"^# %%", script, flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        if heading.strip() == "[markdown]":
            cells.append(("markdown", re.sub(r"^# ?", "", body.strip(), flags=re.MULTILINE)))
            continue
        if heading.strip():
            cells.append(("markdown", f"## {heading.strip()}"))
        cells.append(("code", body.strip()))
    return cells


def _cell(kind: str, text: str) -> dict[str, object]:
    cell: dict[str, object] = {"cell_type": kind, "metadata": {}, "source": text.strip().splitlines(keepends=True)}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def _file(name: str) -> Path:
    return FOLDER / ("structures" if name.endswith(".cif") else "campaigns") / name
