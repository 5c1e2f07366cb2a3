"""The house: which room may use which, read from the imports."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

# From the foundations up: a room uses those above its own line here, never one below it.
ROOMS = (
    ("errors", "seeds"),
    ("cluster", "data", "parallel", "presets", "storage"),
    ("assets", "latents"),
    ("generators", "penalties", "precomputed"),
    ("drawing", "editors", "scorers"),
    ("sampling", "photos"),
    ("shards",),
    ("samples",),
    ("metrics",),
    ("methods",),
    ("figures", "widgets", "remarks", "executed"),
    ("run", "lab"),
)
RANK = {room: rank for rank, rooms in enumerate(ROOMS) for room in rooms}
# `facenb/__init__.py` hands out what users load; `samples` runs as a command.
ENTRANCES = ("facenb.samples",)


def modules(repository: Path) -> dict[str, Path]:
    found = {}
    for path in sorted((repository / "facenb").rglob("*.py")):
        parts = path.relative_to(repository).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(module: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of facenb that `module` imports when it runs; for type checkers alone not."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in names}
    return {name for name in found if name in known and name != module}


@pytest.fixture(scope="module")
def graph(repository) -> dict[str, set[str]]:
    known = modules(repository)
    return {module: imports(module, path, known) for module, path in known.items()}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_room_is_in_the_plan(graph):
    assert {room(module) for module in graph} - {""} == set(RANK)


def test_no_room_uses_one_above(graph):
    wrong = [
        f"{module} imports {used}"
        for module, targets in graph.items()
        for used in targets
        if room(module) and module not in ENTRANCES and room(used) != room(module)
        and RANK[room(module)] <= RANK.get(room(used), len(ROOMS))
    ]  # fmt: skip
    assert not wrong, "\n".join(wrong)


def test_imports_have_no_cycle(graph):
    # a package runs before its modules, but what its __init__ hands out comes from them
    inner = {m: {t for t in used if not m.startswith(f"{t}.")} for m, used in graph.items()}
    try:
        TopologicalSorter(inner).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize("folder", ["notebooks", "facenb"])
def test_nothing_imports_the_maintainers_tools(repository, folder):
    for path in (repository / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            assert not {n.split(".")[0] for n in names} & {"scripts", "benchmarks"}, path


def test_a_broken_rule_is_seen(tmp_path):
    path = tmp_path / "x.py"
    path.write_text("def f():\n    from facenb.methods import sgf\n")
    known = {"facenb.methods": path, "facenb.methods.sgf": path, "facenb.errors": path}
    assert imports("facenb.errors", path, known) == {"facenb.methods.sgf"}
