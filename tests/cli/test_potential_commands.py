"""The command that writes a MACE model without pickle."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files

import pytest
import torch
from command_line import assert_one_line
from models import VARIANTS, build_mace

from alchemflows.alchemy.backends.mace_file import load_mace


@pytest.mark.slow
def test_convert(run_refused, tmp_path):
    model = build_mace(**VARIANTS["residual"])
    torch.save(model, tmp_path / "mine.model")
    done = run_refused("potential", "convert", "mine.model", "mine.safetensors", "--description", "a test", "--json")
    assert done.returncode == 0, done.stderr
    content = (tmp_path / "mine.safetensors").read_bytes()
    assert json.loads(done.stdout) == {
        "file": "mine.safetensors",
        "sha256": hashlib.sha256(content).hexdigest(),
        "n_bytes": len(content),
    }
    loaded = load_mace(content).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in model.state_dict().items())
    done = run_refused("potential", "convert", "mine.safetensors", "again.safetensors", "--description", "a test")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again.safetensors").read_bytes() == content
    assert hashlib.sha256(content).hexdigest() in done.stdout


@pytest.mark.parametrize(
    ("potential", "file", "words"),
    [
        ("mace-demo", "x.model", ("x.model", ".safetensors")),
        ("mace-demo", "none/x.safetensors", ("none", "does not exist")),
        ("sevennet-0", "x.safetensors", ("sevennet-0", "MACE")),
        ("chgnet", "x.safetensors", ("chgnet", "MACE")),
        ("none.model", "x.safetensors", ("none.model",)),
        ("demo.txt", "x.safetensors", ("demo.txt",)),
    ],
)
def test_what_cannot_be_converted(potential, file, words, run_refused, tmp_path):
    (tmp_path / "demo.txt").write_text(str(files("alchemflows")))
    assert_one_line(run_refused("potential", "convert", potential, file), *words)
    assert not (tmp_path / file).exists()
