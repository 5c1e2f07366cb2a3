"""The README keeps its word: links lead somewhere, its code runs, its table is up to date."""

import re
from pathlib import Path
from statistics import median

import foreign
import numpy as np
import pytest

import facenb
from facenb.editors import Editors, load_editors
from facenb.errors import UnknownNameError

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, flags=re.S)


def test_every_link_and_picture_is_there():
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(targets) > 20
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert not missing


def test_every_notebook_is_listed():
    for notebook in (ROOT / "notebooks").glob("*.py"):
        assert f"(notebooks/{notebook.name})" in README


def test_the_python_example_runs_and_adds_glasses():
    names: dict = {}
    exec(EXAMPLES[0], names)
    assert names["images"].shape == (4, 3, 256, 256)
    scorers = facenb.load_scorers()
    before = scorers(names["G"].synthesize(names["w"], size=256))
    change = (names["scores"] - before)[:, scorers.names.index("glasses")]
    assert change.mean() > 0


def test_directions_from_elsewhere_are_taken_as_shown(tmp_path, monkeypatch):
    np.save(tmp_path / "age.npy", np.random.default_rng(0).normal(size=(18, 512)))
    monkeypatch.chdir(tmp_path)
    names: dict = {"facenb": facenb, "G": facenb.load_generator()}
    exec(EXAMPLES[1], names)
    (editor,) = names["editors"].values()
    assert editor.space == "w+"


def test_ones_own_checkpoint_in_four_lines(tmp_path, monkeypatch, capsys):
    foreign.save_nvidia(tmp_path / "network-snapshot.pkl", foreign.nvidia())
    monkeypatch.chdir(tmp_path)
    names: dict = {"facenb": facenb}
    exec(EXAMPLES[2], names)
    assert len(EXAMPLES[2].splitlines()) == 4
    assert names["images"].shape[:2] == (8, 3)
    assert "'w+'" in capsys.readouterr().out


def test_the_default_generators_directions_ship():
    shipped = load_editors("interfacegan")
    assert shipped.space == "w" and shipped.vectors.shape[1] == 512
    assert shipped.names == facenb.load_scorers().names
    assert {"method", "generator", "samples", "command"} <= set(shipped.provenance)


def test_the_shipped_boundaries_are_those_that_the_notebook_learned():
    """From fewer samples there: the same directions, less exactly."""
    saved = Editors.load(ROOT / "figures" / "02_interfacegan" / "directions.safetensors")
    shipped = load_editors("interfacegan").select(saved.names)
    assert saved.provenance["generator"] == shipped.provenance["generator"]
    cosines = dict(zip(saved.names, (shipped.vectors * saved.vectors).sum(1).tolist(), strict=True))
    assert median(cosines.values()) > 0.6
    # as README.md says of them; `make figures` on another processor may save others
    assert median(cosines.values()) == pytest.approx(0.74, abs=0.02)
    assert cosines["yaw"] == pytest.approx(0.21, abs=0.02)


def test_directions_that_do_not_ship_are_listed():
    with pytest.raises(UnknownNameError, match=r"interfacegan \(digiface-dcgan-64\)"):
        load_editors("interfacegan", "stylegan9")
