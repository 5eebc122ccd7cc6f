"""Write the model card, docs/mace-demo.md, from what was measured."""

from __future__ import annotations

import argparse
import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from export import MODEL, REPOSITORY
from stability import CONDITIONS, FRICTION_PER_PS, ROWS, STAY_PS, rows
from systems import SEED, SYSTEMS
from train import TEST_SHARE, TRAININGS, VALID_SHARE, references_of

CARD = REPOSITORY / "docs" / "mace-demo.md"
TITLES = {
    "alpha": "α-Cs(Pb,Sn)I₃",
    "delta": "δ-Cs(Pb,Sn)I₃",
    "chloride": "(Li,Na,K)Cl",
    "iron": "bcc Fe, also with a vacancy",
    "oxide": "(Ce,Zr,Sn)O₂",
    "nitride": "hexagonal (Al,Ga,Sc)N",
    "all": "**all**",
}
FORMULAS = {"alpha": "Cs{}I₃, α", "delta": "Cs{}I₃, δ", "chloride": "{}Cl", "oxide": "{}O₂", "nitride": "{}N"}
PACKAGES = ("mace-torch", "sevenn", "torch", "e3nn", "ase", "numpy")


def compound(system: str, elements: list[str]) -> str:
    """Return how a compound is written, pure or half and half."""
    metal = elements[0] if len(elements) == 1 else f"({elements[0]}½{elements[1]}½)"
    if system == "iron":
        return "Fe"
    return FORMULAS[system].format(metal.strip("()") if system in ("alpha", "delta") else metal)


def table(head: list[str], body: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def error_table(found: dict[str, Any]) -> str:
    """Return held-out errors, root mean square / mean absolute."""
    body = []
    for name, title in TITLES.items():
        row = found["errors"][name]
        body.append(
            [title, f"{row['structures']:.0f}"]
            + [
                f"{row[f'rmse_{kind}']:.{digits}f} / {row[f'mae_{kind}']:.{digits}f}"
                for kind, digits in (("energy_meV_per_atom", 1), ("forces_meV_per_A", 0), ("stress_meV_per_A3", 1))
            ]
        )
    return table(["system", "structures", "energy, meV/atom", "forces, meV/Å", "stress, meV/Å³"], body)


def target_table(found: dict[str, Any]) -> str:
    """Return what was aimed at, what came out, and whether it holds."""
    overall = found["errors"]["all"]
    worst = max(found["lattices"].values(), key=lambda row: row["largest_deviation_percent"])
    away = max(abs(row["model"] - row["sevennet"]) for row in found["lead_to_tin_meV_per_atom"].values())
    body = []
    for what, value, bound in (
        ("energy, held out, RMSE, meV/atom", overall["rmse_energy_meV_per_atom"], 4),
        ("forces, held out, RMSE, meV/Å", overall["rmse_forces_meV_per_A"], 70),
        (f"lattice parameters of pure compounds, % (worst: {worst['formula']})", worst["largest_deviation_percent"], 1),
        ("energy of Pb → Sn in α and δ, away from SevenNet-0's, meV/atom", away, 3),
    ):
        body.append([what, f"{value:.2f}", f"≤ {bound}", "yes" if value <= bound else "**no**"])
    return table(["quantity", "measured", "target", "holds"], body)


def lattice_table(found: dict[str, Any]) -> str:
    """Return lattice parameters beside the teacher's."""
    body = []
    for name, row in found["lattices"].items():
        system, element = name.split("-")
        ours, theirs = (" / ".join(f"{v:.3f}" for v in row[who]) for who in ("model_A", "sevennet_A"))
        body.append([compound(system, [element]), ours, theirs, f"{row['largest_deviation_percent']:.2f}"])
    return table(["compound", "`mace-demo`, Å", "SevenNet-0, Å", "largest deviation, %"], body)


def option_table() -> str:
    """Return the options of all trainings side by side."""
    names = list(dict.fromkeys(name for options in TRAININGS for name in options))
    body = [
        [f"`{name}`"]
        + ["yes" if options.get(name, "") is None else f"{options.get(name, '')}" for options in TRAININGS]
        for name in names
    ]
    return table(["option", *map(str, range(1, len(TRAININGS) + 1))], body)


def stability_table() -> str:
    """Return the rows that are there, of this model; the others are named as not run."""
    sha256 = hashlib.sha256(MODEL.read_bytes()).hexdigest()
    body = []
    for system, elements in rows(list(CONDITIONS)):
        path = ROWS / f"{system}-{'-'.join(elements)}.json"
        name = compound(system, list(elements)) + (" with a vacancy" if SYSTEMS[system].vacancy else "")
        if not path.exists() or json.loads(path.read_text())["sha256"] != sha256:
            body.append([name, "", "", "", "", "not run", ""])
            continue
        row = json.loads(path.read_text())
        moved = " / ".join(f"{v:.2f}" for v in row["largest_displacement_over_limit"])
        away = f"{max(row['longest_on_another_site_ps']):.2g}"
        verdict = "yes" if row["stable"] else f"**no** ({row.get('explosion', 'an atom left its site')})"
        conditions = [f"{row['atoms']}", f"{row['temperature_K']:.0f}", f"{row['timestep_fs']:g}"]
        body.append([name, *conditions, moved, away, f"{verdict}, {row['completed_ps']:.0f} ps"])
    head = [
        "compound",
        "atoms",
        "T, K",
        "step, fs",
        "displacement ÷ limit at −3 / 0 / +3 % volume",
        "longest on another site, ps",
        "stable",
    ]
    return table(head, body)


def teacher_rows() -> str:
    """Return what is known of the same dynamics with SevenNet-0 itself."""
    lines = []
    for path in sorted((ROWS / "sevennet-0").glob("*.json")):
        row = json.loads(path.read_text())
        name = compound(row["system"], row["elements"])
        for ratio, moved, stay in zip(
            row["volume_ratios"],
            row["largest_displacement_over_limit"],
            row["longest_on_another_site_ps"],
            strict=True,
        ):
            lines.append(
                f"- {name}, {row['temperature_K']:.0f} K, {100 * (ratio - 1):+.0f} % volume, "
                f"{row['completed_ps']:.0f} ps: displacement {moved:.2f} of the limit, {stay:.1f} ps on another site"
            )
    return "\n".join(["SevenNet-0 itself, with the longest stay on another site:", "", *lines]) if lines else ""


def stability_section() -> str:
    """Return the section on stability, which needs no more than the rows that are kept in the repository."""
    return f"""## Stability

Dynamics at constant volume (BAOAB Langevin, friction {FRICTION_PER_PS:.0f}/ps, float32) of small cells. A displacement
is measured from the atom's site after the drift of the centre of mass is taken out; its limit is half the distance
to the nearest site of the same sublattice, below which no other site can be nearer to the atom than its own. One that
has been nearer to another for {STAY_PS:g} ps has left its own. Half-and-half compounds are alchemical, λ = 0.5,
coupling `paired`. Cubic SnO₂ and ZrO₂ are no minima, nor are they for SevenNet-0: `tools/mace_demo/README.md` says what
they become.

{stability_table()}

{teacher_rows()}
"""


def renew_stability() -> None:
    """Write the section on stability of a card that is there."""
    before, _, rest = CARD.read_text().partition("## Stability\n")
    _, heading, after = rest.partition("\n## Training\n")
    CARD.write_text(before + stability_section() + heading + after)


def main(work: Path) -> None:
    """Write the card."""
    found = json.loads((work / "evaluation.json").read_text())
    references = references_of(work)
    data = MODEL.read_bytes()
    counts = []
    for name in SYSTEMS:
        row = found["counts"][name]
        sizes = [row[key] for key in ("train", "valid", "test")]
        counts.append([TITLES[name], *map(str, sizes), f"{row['atoms'] / sum(sizes):.0f}"])
    differences = [
        [name, f"{row['model']:.1f}", f"{row['sevennet']:.1f}"]
        for name, row in zip("αδ", found["lead_to_tin_meV_per_atom"].values(), strict=True)
    ]
    CARD.write_text(f"""# Model card: mace-demo

*Written by `tools/mace_demo/card.py` from what the other scripts there measured; do not edit by hand.*

**Made for learning and tests, not for publications.** `mace-demo` is a small MACE model that comes with the package, so
that a workflow can be tried offline in seconds. It was distilled from SevenNet-0: its labels are another model's, not
quantum mechanics. It knows the systems below at moderate temperatures and strains, and nothing else. For results, ask
for a foundation model or one of your own.

- File: `alchemflows/data/mace-demo.safetensors`, {len(data) / 1e6:.2f} MB, tensors and JSON, no pickle;
  SHA-256 `{hashlib.sha256(data).hexdigest()}`
- Elements: {", ".join(references)}
- Model: `ScaleShiftMACE` of mace-torch, {TRAININGS[0]["hidden_irreps"]} features, cutoff {TRAININGS[0]["r_max"]} Å,
  float32
- Made with {", ".join(f"{name} {version(name)}" for name in PACKAGES)}; seed {SEED}
- Licences: the weights are part of this package (MIT). The labels come from SevenNet-0 (11 July 2024), as the package
  sevenn ships it; sevenn is GPL-3, and SevenNet-0 was trained on MPtrj, relaxations of the Materials Project.
- Made by `python tools/mace_demo/make.py --work DIR` (see `tools/mace_demo/README.md`)

## Data

Pure and mixed compositions, in random arrangements; relaxed, strained, rattled, and from short dynamics with
SevenNet-0; besides, what the model visited by itself after the first trainings, with the holes that it fell into.
Energies, forces and stresses are SevenNet-0's throughout. Whole trajectories and arrangements are held out
({TEST_SHARE:.0%} for tests, {VALID_SHARE:.0%} for choosing the epoch), never single frames; strain scans of pure
compounds are all for training.

{table(["system", "training", "validation", "test", "mean atoms"], counts)}

## Targets

{target_table(found)}

## Errors on held-out structures

Root mean square / mean absolute; energies per structure, forces and stresses per component; model in float64.

{error_table(found)}

## Lattice parameters

Relaxed at 0 K within the symmetry. δ: a / b / c; nitrides: a / c; the others: the cubic a.

{lattice_table(found)}

## Energy of Pb → Sn

Difference of the relaxed cells' energies, E(CsSnI₃) − E(CsPbI₃).

{table(["", "`mace-demo`, meV/atom", "SevenNet-0, meV/atom"], differences)}

{stability_section()}
## Training

{len(TRAININGS)} trainings: the first on the teacher's structures, each later one, from the weights of the one before,
also on what that one's model visited. Options of `mace_run_train`, besides file names:

{option_table()}

E0 (eV), fitted by least squares to the training energies, for want of isolated atoms:
{", ".join(f"{element} {energy:.3f}" for element, energy in references.items())}.
""")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work", type=Path, help="folder of the data, the training and the results; without it only the rows of "
        "stability.py are written anew"
    )  # fmt: skip
    chosen = parser.parse_args().work
    renew_stability() if chosen is None else main(chosen)
