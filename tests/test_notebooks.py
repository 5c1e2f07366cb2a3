"""Every notebook, executed headlessly in the smoke profile, and the house rules for notebooks."""

import ast
import json
import os
from pathlib import Path

import jupytext
import nbformat
import pytest
from foreign import rosinality, save_rosinality

from facenb.figures import written_for
from facenb.run import ROOT, find_notebooks, run_notebook

NOTEBOOKS = find_notebooks(ROOT / "notebooks")
PARAMETERS = {"profile": "smoke", "seed": 0, "generator": "digiface-dcgan-64", "device": "cpu"}
SECTIONS = (
    "Question", "What the paper", "What the code says", "Run", "Check", "Try it", "Exercises",
)  # fmt: skip
each = pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem)


# In smoke runs faces are the point of these; FACENB_SLOW=1 runs all on the generator of faces
FACED = ("00_tour", "02_interfacegan", "05_two_stage", "09_style_based")
FACES = [path for path in NOTEBOOKS if written_for(path) == "mobilestylegan-ffhq-1024"]
FACES = [path for path in FACES if path.stem in FACED or os.environ.get("FACENB_SLOW")]
EVERY = [(path, "digiface-dcgan-64") for path in NOTEBOOKS]
EVERY += [(path, "mobilestylegan-ffhq-1024") for path in FACES]


@pytest.mark.parametrize(("source", "generator"), EVERY, ids=lambda v: getattr(v, "stem", v))
def test_executes_in_the_smoke_profile_and_leaves_its_pictures(
    source: Path, generator: str, tmp_path: Path
):
    outcome = run_notebook(source, tmp_path, PARAMETERS | {"generator": generator})
    assert outcome.error is None, outcome.error
    folder = tmp_path / source.stem
    record = json.loads((folder / "numbers.json").read_text())
    assert record["profile"] == "smoke" and record["notebook"] == source.stem
    assert record["figures"]
    for name in record["figures"]:
        (picture,) = [path for path in folder.glob(f"{name}.*") if path.suffix in (".png", ".jpg")]
        assert picture.stat().st_size > 2000
    for name in record["tables"]:
        assert (folder / f"{name}.csv").exists()
    assert (folder / f"{source.stem}.ipynb").exists()


def test_on_another_style_based_generator_it_says_what_does_not_apply(tmp_path: Path):
    source = next(path for path in NOTEBOOKS if path.stem == "03_unsupervised")
    generator = str(save_rosinality(tmp_path / "mine.pt", rosinality()))
    outcome = run_notebook(source, tmp_path, PARAMETERS | {"generator": generator})
    assert outcome.error is None, outcome.error
    record = json.loads((tmp_path / source.stem / "numbers.json").read_text())
    assert record["generator"].startswith("mine") and "strips_sefa_middle" in record["figures"]
    cells = nbformat.read(tmp_path / source.stem / f"{source.stem}.ipynb", as_version=4).cells
    outputs = [o for cell in cells for o in cell.get("outputs", []) if "data" in o]
    said = "".join(o.data.get("text/markdown", "") for o in outputs)
    assert "this run is on **mine" in said


@each
def test_has_the_sections_of_every_notebook_in_order(source: Path):
    text = "\n".join(
        cell.source for cell in jupytext.read(source).cells if cell.cell_type == "markdown"
    )
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert len(headings) == len(SECTIONS)
    for heading, expected in zip(headings, SECTIONS, strict=True):
        assert heading.startswith(expected)


@each
def test_tells_a_story_and_leaves_the_code_to_the_package(source: Path):
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.FunctionDef):
            length = node.end_lineno - node.lineno + 1
            assert length <= 10, f"{node.name} has {length} lines; move it into the package"


@each
def test_committed_figures_are_those_of_the_laptop_profile(source: Path):
    folder = ROOT / "figures" / source.stem
    record = json.loads((folder / "numbers.json").read_text())
    assert record["profile"] == "laptop" and record["seed"] == 0
    pictures = {path.stem for kind in ("png", "jpg") for path in folder.glob(f"*.{kind}")}
    assert pictures >= set(record["figures"])
    stale = pictures - set(record["figures"])
    assert not stale, f"pictures that no notebook makes any more: {stale}"
