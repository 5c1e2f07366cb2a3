"""docs/architecture.md: its examples run, and its tables and numbers are those of the code."""

from __future__ import annotations

import re

import pytest

from facenb.editors import Editors


@pytest.fixture(scope="module")
def page(repository) -> str:
    return (repository / "docs" / "architecture.md").read_text()


def test_its_examples_make_a_world_in_which_everything_works(page, tmp_path, monkeypatch):
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path))
    world: dict[str, object] = {"__name__": "world"}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, world)
    red = world["strip"][:, :, 0].mean((2, 3)) - world["strip"][:, :, 1].mean((2, 3))
    assert (red.diff(dim=1) > 0).all()
    table = world["result"].table()
    assert list(table.index) == ["least squares", "InterFaceGAN"]
    editors = world["methods"]["least squares"]
    assert isinstance(editors, Editors) and editors.fingerprint == "blobs-1"
    # the score `red` follows the second entry of z more than `brightness` does
    assert editors.vectors[1, 1] > 2 * editors.vectors[0, 1]


def test_every_room_is_in_its_table(page, repository):
    rooms = {p.name for p in (repository / "facenb").iterdir() if (p / "__init__.py").exists()}
    assert {f"{room}/" for room in rooms - {"training"}} <= set(re.findall(r"`(\w+/)`", page))


def test_the_reading_path_is_as_long_as_it_says(page, repository):
    part = page.partition("## The reading path")[2].partition("## The contract")[0]
    rows = re.findall(r"\| `facenb/([\w/.]+)` \| (\d+) \|", part)
    assert len(rows) >= 5
    for name, lines in rows:
        actual = len((repository / "facenb" / name).read_text().splitlines())
        assert abs(actual - int(lines)) <= 15, f"{name} has {actual} lines"
    total = int(re.search(r"(\d[\d,]+) lines", part)[1].replace(",", ""))
    assert abs(total - sum(int(lines) for _, lines in rows)) <= 50 and total < 1500
