"""Benchmarks run: what they say is looked at by people, whether they still work is tested."""

import pandas as pd

import benchmarks.__main__ as benchmarks
from benchmarks import transformer
from benchmarks.discovery import bench_discovery


def test_the_parts_of_a_step_of_discovery_are_timed():
    rows = bench_discovery(rounds=1)
    assert len(rows) == 4
    for label, said in rows.items():
        assert ("× faster" in said) if "against" in label else ("generator" in said), label


def test_the_transformer_is_timed_together_and_alone(monkeypatch):
    monkeypatch.setattr(transformer, "LATENTS", 512)
    monkeypatch.setattr(transformer, "WIDTH", 16)
    assert len(transformer.bench_latent_transformer()) >= 2


def test_a_part_that_fails_is_a_row_and_loses_nothing(monkeypatch, capsys):
    def breaks():
        raise TypeError("other arguments")

    tables = []
    monkeypatch.setattr(benchmarks, "BENCHES", (breaks, lambda: {"speed": "2 ×"}))
    monkeypatch.setattr(benchmarks, "FigureFolder", lambda *_, **__: Folder(tables))
    assert benchmarks.main() == 1
    assert tables[0]["measured"].to_dict() == {
        "breaks": "failed: TypeError: other arguments", "speed": "2 ×",
    }  # fmt: skip
    assert "2 ×" in capsys.readouterr().out


class Folder:
    def __init__(self, tables: list[pd.DataFrame]) -> None:
        self.tables = tables

    def table(self, frame: pd.DataFrame, name: str, caption: str) -> None:
        self.tables.append(frame)
