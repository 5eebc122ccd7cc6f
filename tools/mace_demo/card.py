"""Write the model card, docs/mace-demo.md, from the measured results."""

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
    """Return the formula of a pure or a half-and-half compound."""
    metal = elements[0] if len(elements) == 1 else f"({elements[0]}½{elements[1]}½)"
    if system == "iron":
        return "Fe"
    return FORMULAS[system].format(metal.strip("()") if system in ("alpha", "delta") else metal)


def table(head: list[str], body: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def error_table(found: dict[str, Any]) -> str:
    """Return the table of errors on held-out structures, root mean square / mean absolute."""
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
    """Return the table of targets, measured values, and whether each target is met."""
    overall = found["errors"]["all"]
    worst = max(found["lattices"].values(), key=lambda row: row["largest_deviation_percent"])
    away = max(abs(row["model"] - row["sevennet"]) for row in found["lead_to_tin_meV_per_atom"].values())
    body = []
    for what, value, bound in (
        ("energy, held out, RMSE, meV/atom", overall["rmse_energy_meV_per_atom"], 4),
        ("forces, held out, RMSE, meV/Å", overall["rmse_forces_meV_per_A"], 70),
        (f"lattice parameters of pure compounds, % (worst: {worst['formula']})", worst["largest_deviation_percent"], 1),
        ("energy of Pb → Sn in α and δ, deviation from SevenNet-0, meV/atom", away, 3),
    ):
        body.append([what, f"{value:.2f}", f"≤ {bound}", "yes" if value <= bound else "**no**"])
    return table(["quantity", "measured", "target", "holds"], body)


def lattice_table(found: dict[str, Any]) -> str:
    """Return the table of lattice parameters of mace-demo and SevenNet-0."""
    body = []
    for name, row in found["lattices"].items():
        system, element = name.split("-")
        ours, theirs = (" / ".join(f"{v:.3f}" for v in row[who]) for who in ("model_A", "sevennet_A"))
        body.append([compound(system, [element]), ours, theirs, f"{row['largest_deviation_percent']:.2f}"])
    return table(["compound", "`mace-demo`, Å", "SevenNet-0, Å", "largest deviation, %"], body)


def option_table() -> str:
    """Return the table of options of all trainings."""
    names = list(dict.fromkeys(name for options in TRAININGS for name in options))
    body = [
        [f"`{name}`"]
        + ["yes" if options.get(name, "") is None else f"{options.get(name, '')}" for options in TRAININGS]
        for name in names
    ]
    return table(["option", *map(str, range(1, len(TRAININGS) + 1))], body)


def stability_table() -> str:
    """Return the table of stability; rows that are missing or of another model are marked as not run."""
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
        "longest time on another site, ps",
        "stable",
    ]
    return table(head, body)


def teacher_rows() -> str:
    """Return a list of the same dynamics with SevenNet-0."""
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
    return (
        "\n".join(["The same dynamics with SevenNet-0, with the longest time on another site:", "", *lines])
        if lines
        else ""
    )


def stability_section() -> str:
    """Return the section on stability, from the rows that are stored in the repository."""
    return f"""## Stability

Dynamics of small cells at constant volume (BAOAB Langevin, friction {FRICTION_PER_PS:.0f}/ps, float32). Displacements
are measured from the sites, without the drift of the centre of mass. The limit is half the distance to the nearest
site of the same sublattice. An atom below this limit is always closest to its own site. An atom has left
its site if it has been closer to another site for {STAY_PS:g} ps. Compounds with ½ are alchemical at λ = 0.5 with the
coupling `paired`. Cubic SnO₂ and ZrO₂ are not energy minima, neither with `mace-demo` nor with SevenNet-0;
`tools/mace_demo/README.md` describes the structures that they form.

{stability_table()}

{teacher_rows()}
"""


def renew_stability() -> None:
    """Rewrite the section on stability of the existing card."""
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

Use `mace-demo` to try a workflow offline in seconds; do not use it for publications.

```bash
alchemflows quickstart --potential mace-demo
```

*Written by `tools/mace_demo/card.py` from the measurements of the other scripts in that folder; do not edit by hand.*

**`mace-demo` is for learning and tests, not for publications.** It is a small MACE potential that comes with the
package. It was distilled from SevenNet-0, that is, trained on results of that potential and not on
quantum-mechanical results. It is valid only for the systems below at moderate temperatures and strains. For
publishable results, use a foundation model or your own potential.

- File: `alchemflows/data/mace-demo.safetensors`, {len(data) / 1e6:.2f} MB, tensors and JSON, no pickle;
  SHA-256 `{hashlib.sha256(data).hexdigest()}`
- Elements: {", ".join(references)}
- Model: `ScaleShiftMACE` of mace-torch, {TRAININGS[0]["hidden_irreps"]} features, cutoff {TRAININGS[0]["r_max"]} Å,
  float32
- Made with {", ".join(f"{name} {version(name)}" for name in PACKAGES)}; seed {SEED}
- Licences: the parameters are part of this package (MIT). The training data were computed with SevenNet-0 (11 July
  2024) as distributed with the package sevenn, which is GPL-3. SevenNet-0 was trained on MPtrj, relaxations of the
  Materials Project.
- Command: `python tools/mace_demo/make.py --work DIR` (see `tools/mace_demo/README.md`)

## Data

The structures have pure and mixed compositions in random arrangements. They are relaxed, strained, rattled, or taken
from short dynamics with SevenNet-0. After the first and the second training, structures from dynamics with the
trained model itself were added, including false minima of its energy. All energies, forces and stresses are computed
with SevenNet-0. Whole trajectories and arrangements are held out
({TEST_SHARE:.0%} for tests, {VALID_SHARE:.0%} for choosing the epoch),
never single frames of a trajectory. Strain scans of pure compounds are used only for training.

{table(["system", "training", "validation", "test", "mean atoms"], counts)}

## Targets

{target_table(found)}

## Errors on held-out structures

Root mean square / mean absolute errors of energies per structure and of forces and stresses per component, in float64.

{error_table(found)}

## Lattice parameters

Relaxed at 0 K with the symmetry kept. δ: a / b / c; nitrides: a / c; others: cubic a.

{lattice_table(found)}

## Energy of Pb → Sn

Energy difference of the relaxed cells, E(CsSnI₃) − E(CsPbI₃).

{table(["", "`mace-demo`, meV/atom", "SevenNet-0, meV/atom"], differences)}

{stability_section()}
## Training

There are {len(TRAININGS)} trainings. The first uses structures from SevenNet-0. Each later training starts from the
parameters of the previous one and also uses structures from dynamics with the previous model. Options of
`mace_run_train`, except file names:

{option_table()}

E0 (eV), fitted by least squares to the training energies, because the data contain no isolated atoms:
{", ".join(f"{element} {energy:.3f}" for element, energy in references.items())}.
""")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work", type=Path, help="folder of the data, the training and the results; if omitted, only the section "
        "on stability is rewritten"
    )  # fmt: skip
    chosen = parser.parse_args().work
    renew_stability() if chosen is None else main(chosen)
