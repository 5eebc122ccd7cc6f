"""Model files of every MACE variant, built once, and loaded potentials."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from models import VARIANTS, save_mace

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.backends.precision import default_dtype
from alchemflows.alchemy.interfaces import Backend
from alchemflows.schemas.potential import PotentialSpec


@pytest.fixture(autouse=True)
def single_precision_default() -> Iterator[None]:
    """Give every test torch's own default dtype: what is float64 must not depend on it."""
    with default_dtype(torch.float32):
        yield


@pytest.fixture(scope="session")
def mace_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the model file of a variant."""
    folder = tmp_path_factory.mktemp("models")
    return cache(lambda variant: save_mace(folder / f"{variant}.model", variant))


@pytest.fixture(scope="session")
def backend(mace_file: Callable[[str], Path]) -> Callable[[str], Backend]:
    """Return a variant of MACE, `sevennet` or `chgnet`, loaded in float64."""

    def load(name: str) -> Backend:
        if name == "sevennet":
            pytest.importorskip("sevenn")
            return load_potential(PotentialSpec(name="sevennet-0", dtype="float64", device="cpu"))
        if name == "chgnet":
            pytest.importorskip("chgnet")
            return load_potential(PotentialSpec(name="chgnet", dtype="float64", device="cpu"))
        head = "other" if name.startswith("heads") else None
        return load_potential(PotentialSpec(name=str(mace_file(name)), dtype="float64", device="cpu", head=head))

    assert not {"sevennet", "chgnet"} & set(VARIANTS)
    return cache(load)
