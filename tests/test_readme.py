"""The README keeps its word: links lead somewhere, its code runs, its table is up to date."""

import json
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


SEPARATION = ("separation, mean validation accuracy",)
ENTANGLED = ("entanglement",)
T1 = "T1 averages"
SGF = "07_surrogate_gradient_field"
LOGITS = ("reconstruction", "10 · mean square, logits")
RADII = "Eq. 2, fraction of radii below 1, F paper"
PHOTOS, VGG = "10_photographs", "VGG distance (HED)"
ALL = "11_all_methods"
DIFFERENCES = "significant differences of success, by the independent scorers"
KNOWN = "known latents: VGG distance to the true edit"
QUOTED = [  # words with # for the number, the notebook, where it has that number, and its unit
    ("estimate is # times", "04_penalties", ("kinks", "ratio"), 1),
    ("it grows from # in", "04_penalties", ("penalty over squared change", "8 px"), 1),
    ("pixels to # in the image", "04_penalties", ("penalty over squared change", "image"), 1),
    ("reconstructor names # % of", "03_unsupervised", ("discovery, held-out", "accuracy"), 100),
    ("penalty falls to # of", "05_two_stage", ("penalty over stage one's", "DTH"), 1),
    ("OroJaR's to #.", "05_two_stage", ("penalty over stage one's", "DTJ"), 1),
    ("mean |r| # against", "05_two_stage", ("verdict", "DTH target", "value"), 1),
    ("|r| .70 against #,", "05_two_stage", ("verdict", "SDD target", "value"), 1),
    ("person on # %", "06_latent_transformer", (T1, "transformer", "identity"), 1),
    ("InterFaceGAN on # % (diff", "06_latent_transformer", (T1, "InterFaceGAN", "identity"), 1),
    ("and # % of the other", "06_latent_transformer", (T1, "transformer", "attributes"), 1),
    ("InterFaceGAN # % (+9.3", "06_latent_transformer", (T1, "InterFaceGAN", "attributes"), 1),
    ("mean F1 # against", "06_latent_transformer", ("classifiers, mean", "F1, three layers"), 1),
    ("label on # % of", "06_latent_transformer", (*LOGITS, "target's label changed"), 100),
    ("mean MDS # against", SGF, ("MDS", "SGF, mean", "mds"), 1),
    ("MDS .63 against # (+.11", SGF, ("MDS", "GANSpace, mean", "mds"), 1),
    ("and # (−.22", SGF, ("MDS", "InterFaceGAN, mean", "mds"), 1),
    ("below 1 on # %", SGF, ("claims", RADII), 100),
    ("boundaries separate # %", "09_style_based", (*SEPARATION, "w"), 100),
    ("samples in *W*, # % in", "09_style_based", (*SEPARATION, "z"), 100),
    ("cosines (mean # against", "09_style_based", (*ENTANGLED, "W: cosine of normals"), 1),
    ("correlate more (# against", "09_style_based", (*ENTANGLED, "W: correlation of distances"), 1),
    ("distance of # in *W+*", PHOTOS, (f"F10 {VGG}", "W+, 40 steps"), 1),
    ("in *W+*, # in *W*", PHOTOS, (f"F10 {VGG}", "W, 40 steps"), 1),
    ("latent bring it to #,", PHOTOS, (f"F10 {VGG}", "encoder, 120 steps"), 1),
    ("and tuning to #,", PHOTOS, (f"F10 {VGG}", "tuned"), 1),
    ("the photograph (cosine #)", PHOTOS, ("F10 SFace cosine", "encoder"), 1),
    ("true edit # against", PHOTOS, (KNOWN, "encoder, then W+"), 1),
    ("true edit 1.61 against #)", PHOTOS, (KNOWN, "encoder"), 1),
    ("afterwards (# dB", PHOTOS, ("F11 PSNR, generated", "trained together"), 1),
    ("turns the target over on # %", ALL, ("success", "latent transformer", "mean"), 100),
    ("in *W* # % (conditioned", ALL, ("success", "InterFaceGAN, W", "mean"), 100),
    ("(conditioned # %)", ALL, ("success", "InterFaceGAN, W, conditioned", "mean"), 100),
    ("SGF # %, GANSpace by", ALL, ("success", "SGF", "mean"), 100),
    ("GANSpace by layers # %", ALL, ("success", "GANSpace, by layers", "mean"), 100),
    ("*Z* # %, SeFa", ALL, ("success", "InterFaceGAN, Z", "mean"), 100),
    ("SeFa # %, the five", ALL, ("success", "SeFa", "mean"), 100),
    ("does both on # % of", ALL, ("both", "InterFaceGAN, W", "mean"), 100),
    ("the faces, SGF on # %", ALL, ("both", "SGF", "mean"), 100),
    ("the transformer on # %", ALL, ("both", "latent transformer", "mean"), 100),
    ("these confirm # and", ALL, (DIFFERENCES, "same"), 1),
]  # fmt: skip


@pytest.mark.parametrize(("words", "notebook", "keys", "unit"), QUOTED, ids=lambda v: str(v)[:30])
def test_numbers_of_what_was_found_are_the_notebooks(words, notebook, keys, unit):
    before, after = map(re.escape, words.split("#"))
    (quoted,) = re.findall(f"{before}([0-9.]+?){after}", " ".join(README.split()))
    number = json.loads((ROOT / "figures" / notebook / "numbers.json").read_text())["numbers"]
    for key in keys:
        number = number[key]
    # `make figures` on another processor may save others
    assert float(quoted) == pytest.approx(unit * number, rel=0.05, abs=0.01 * unit)
