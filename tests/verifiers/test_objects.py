from __future__ import annotations

import sys

import pytest
import torch

from gensearch.search import find
from verifiers.catalogue import verifier as named
from verifiers.objects import by_object

MEDIA = torch.linspace(0, 1, 3 * 3 * 4 * 4).view(3, 3, 4, 4)
MEANS = MEDIA.flatten(1).mean(1)
PROMPTS = ["a", "b", "c"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a module of verifiers, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "own_rewards_of_a_user.py").write_text(
        "import torch\n"
        "def bright(media, prompts):\n    return media.flatten(1).mean(1)\n"
        "class Dark:\n"
        "    name = 'dark'\n"
        "    def __init__(self, device='cpu'):\n        self.device = device\n"
        "    def __call__(self, media, prompts):\n        return -media.flatten(1).mean(1)\n"
        "class Set:\n    def __init__(self, weight):\n        pass\n"
        "def build(device):\n    return Dark(device)\n"
        "dark, number = Dark(), 3\n"
    )
    (tmp_path / "broken_of_a_user.py").write_text("import nothing_of_this_name\n")
    (tmp_path / "raising_of_a_user.py").write_text("raise RuntimeError('no GPU\\nhere')\n")
    yield
    for name in ("own_rewards_of_a_user", "broken_of_a_user", "raising_of_a_user"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("name", "called", "sign"),
    [("bright", "own_rewards_of_a_user:bright", 1), ("Dark", "dark", -1), ("dark", "dark", -1), ("build", "dark", -1)],
)
def test_verifiers_by_the_place_of_their_code(name, called, sign):
    found = named(f"own_rewards_of_a_user:{name}", device="meta")
    assert found.name == called
    assert torch.equal(found(MEDIA, PROMPTS).total, sign * MEANS)
    if name in ("Dark", "build"):
        assert found.device == "meta"  # type: ignore[attr-defined]
    total = named(f"2*own_rewards_of_a_user:{name}+random")(MEDIA, PROMPTS).parts[called]
    assert torch.equal(total, sign * MEANS)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_module_here:f", "names no module: there is no 'no_such_module_here' in .* or among installed"),
        ("own_rewards_of_a_user:brigth", "own_rewards_of_a_user has no 'brigth'; did you mean 'bright'"),
        ("own_rewards_of_a_user:number", "is 3, which cannot be called"),
        ("own_rewards_of_a_user:Set", "Set needs arguments"),
        ("broken_of_a_user:f", "cannot be imported: No module named 'nothing_of_this_name'"),
        ("raising_of_a_user:f", "cannot be imported: RuntimeError: no GPU"),
    ],
)
def test_code_that_cannot_be_used_is_refused(name, words):
    with pytest.raises(ValueError, match=words):
        by_object(name)


@pytest.mark.usefixtures("here")
def test_searches_by_the_place_of_their_code():
    found = find("gensearch.search.noise.best_of_n:best_of_n")
    assert found.__name__ == "best_of_n"
    with pytest.raises(ValueError, match="own_rewards_of_a_user:bright' is no search; name a function"):
        find("own_rewards_of_a_user:bright")
