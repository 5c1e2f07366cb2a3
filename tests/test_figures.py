"""Figures: pixels where they belong, and numbers beside the pictures."""

import json
import subprocess

import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from PIL import Image

from facenb.editors import LinearEditor
from facenb.figures import (
    FigureFolder,
    heatmap,
    heatmaps,
    image_grid,
    output_folder,
    strip_images,
)
from facenb.generators import load_generator


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FACENB_FIGURES", str(tmp_path))
    return FigureFolder("07_test", profile="smoke", seed=3)


def record(folder):
    return json.loads((folder.path / "numbers.json").read_text())


def test_a_grid_shows_each_picture_in_its_place():
    colours = torch.tensor([[-1.0, -1, 1], [1, -1, -1], [-1, 1, -1]])
    figure = image_grid(colours.view(3, 3, 1, 1).expand(3, 3, 32, 32), columns=2)
    mosaic = figure.axes[0].get_images()[0].get_array()
    assert mosaic.shape == (65, 65, 3)  # 2 × 2 cells of 32 with a gap of 1
    assert mosaic[0, 0].tolist() == [0, 0, 1]
    assert mosaic[0, 64].tolist() == [1, 0, 0]
    assert mosaic[64, 0].tolist() == [0, 1, 0]
    assert mosaic[64, 64].tolist() == [1, 1, 1]  # nothing there: blank
    assert mosaic[32, 10].tolist() == [1, 1, 1]  # the gap
    plt.close(figure)


def test_a_strip_has_the_unedited_face_at_zero():
    generator = load_generator("digiface-dcgan-64")
    z = generator.sample(2, seed=0)
    editor = LinearEditor("first", torch.eye(100)[0])
    images = strip_images(generator, editor, z, [-3.0, 0.0, 3.0])
    assert images.shape == (2, 3, 3, 64, 64)
    assert torch.allclose(images[:, 1], generator.synthesize(z), atol=1 / 255)
    assert torch.allclose(
        images[1, 2], generator.synthesize(editor.edit(z[1], 3.0))[0], atol=1 / 255
    )


def test_pictures_carry_their_origin_and_numbers_lie_beside_them(folder):
    figure = heatmaps({"a": pd.DataFrame([[1.0, 0.5], [0.5, 1.0]])})
    folder.save(figure, "chart", "A caption", vector=True)
    folder.number("accuracy", {"smile": torch.tensor(0.98764)})
    shown = folder.table(pd.DataFrame({"x": [1.23456]}), "t", "A table")
    assert shown.iloc[0, 0] == 1.235
    assert (folder.path / "t.csv").read_text() == ",x\n0,1.235\n"
    with Image.open(folder.path / "chart.png") as picture:
        assert "A caption" in picture.info["Description"]
        assert "profile smoke" in picture.info["Description"]
        assert "seed 3" in picture.info["Description"]
        assert "commit" not in picture.info["Description"]
    assert (folder.path / "chart.svg").read_text().startswith("<?xml")
    found = record(folder)
    assert found["figures"] == {"chart": "A caption"}
    assert found["tables"] == {"t": "A table"}
    assert found["numbers"] == {"accuracy": {"smile": 0.9876}}
    assert found["profile"] == "smoke" and found["seed"] == 3


def test_the_same_chart_is_the_same_file(folder):
    frame = {"a": pd.DataFrame([[1.0, 0.5], [0.5, 1.0]])}
    content = []
    for _ in range(2):
        folder.save(heatmaps(frame), "chart", "A caption", vector=True)
        content.append([(folder.path / f"chart.{kind}").read_bytes() for kind in ("png", "svg")])
    assert content[0] == content[1]


def test_a_second_run_leaves_every_file_as_it_was(folder):
    def run(value):
        again = FigureFolder("07_test", profile="smoke", seed=3)
        again.record["commit"] = f"commit {len(seen)}"
        again.number("accuracy", {1: value})
        again.table(pd.DataFrame({"x": [value]}), "t", "A table")
        again.save(heatmaps({"a": pd.DataFrame([[1.0]])}), "chart", "A caption", vector=True)
        seen.append({p.name: p.read_bytes() for p in sorted(folder.path.iterdir())})

    seen = []
    run(1.0)
    run(1.0)
    assert seen[0] == seen[1] and record(folder)["commit"] == "commit 0"
    run(2.0)
    differing = {name for name in seen[2] if seen[2][name] != seen[1][name]}
    assert differing == {"numbers.json", "t.csv"}  # images do not carry the stamp
    assert record(folder)["commit"] == "commit 2"


@pytest.mark.parametrize("place", ["notebooks", "figures/00_tour", "build/other/00_tour", "."])
@pytest.mark.parametrize(
    ("profile", "generator", "expected"),
    [
        ("laptop", "own-1", "figures"),
        ("laptop", "other-2", "build/other-2"),
        ("smoke", "own-1", "build/smoke"),
        ("smoke", "other-2", "build/smoke/other-2"),
        ("paper", "own-1", "build/paper"),
        ("laptop", "/somewhere/mine.pt", "build/mine"),
    ],
)
def test_figures_are_of_the_notebooks_own_generator_wherever_it_runs(
    tmp_path, monkeypatch, place, profile, generator, expected
):
    monkeypatch.delenv("FACENB_FIGURES", raising=False)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks/00_tour.py").write_text('profile = "laptop"\ngenerator = "own-1"\n')
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / place)
    folder = FigureFolder("00_tour", profile=profile, generator=generator)
    assert folder.path == tmp_path / expected / "00_tour"
    assert folder.path.relative_to(tmp_path).parent == output_folder(profile, generator, "own-1")


def test_a_heat_map_shows_its_numbers_right_way_up():
    _, ax = plt.subplots()
    frame = pd.DataFrame([[1.0, -0.5], [0.25, 0.0], [0.1, 0.2]], ["x", "y", "z"], ["a", "b"])
    heatmap(ax, frame, digits=2)
    shown = {t.get_position(): t.get_text() for t in ax.texts}
    assert shown[(0.5, 0.5)] == "1.00" and shown[(1.5, 0.5)] == "-0.50"
    assert shown[(0.5, 2.5)] == "0.10"
    assert ax.get_ylim() == (3, 0)  # the first row is on top
    assert [label.get_text() for label in ax.get_yticklabels()] == ["x", "y", "z"]
    dark, pale = (next(t for t in ax.texts if t.get_text() == s) for s in ("1.00", "0.00"))
    assert dark.get_color() != pale.get_color()  # readable on either colour


def test_the_commit_is_dirty_for_code_and_not_for_figures(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True)

    for name in ("figures/a.txt", "notebooks/b.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("one")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    monkeypatch.chdir(tmp_path / "notebooks")
    clean = FigureFolder("x").record["commit"]
    assert len(clean) == 10
    (tmp_path / "figures/a.txt").write_text("two")
    assert FigureFolder("x").record["commit"] == clean
    (tmp_path / "notebooks/b.txt").write_text("two")
    assert FigureFolder("x").record["commit"] == f"{clean}-dirty"
