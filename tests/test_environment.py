"""The lists of packages agree: pyproject.toml, constraints.txt, environment.yml, the imports."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions, requires, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@pytest.fixture(scope="module")
def pins(repository: Path) -> dict[str, str]:
    found = {}
    for line in (repository / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            match = re.fullmatch(r"([\w.-]+)==([\w.!-]+)", line)  # no local label such as +cpu
            assert match, f"constraints.txt: not an exact, platform-neutral pin: {line!r}"
            found[canonicalize_name(match[1])] = match[2]
    return found


@pytest.fixture(scope="module")
def project(repository: Path) -> dict[str, list[Requirement]]:
    table = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    extras = table["optional-dependencies"]
    lists = {"run": table["dependencies"], **extras}
    return {name: [Requirement(text) for text in texts] for name, texts in lists.items()}


def test_every_dependency_is_pinned_within_its_range(
    pins: dict[str, str], project: dict[str, list[Requirement]]
) -> None:
    for requirement in project["run"] + project["test"] + project["captions"] + project["cluster"]:
        pinned = pins[canonicalize_name(requirement.name)]
        assert pinned in requirement.specifier, f"{requirement} against {pinned}"
    assert pins["torch"] == "2.13.0"


def test_no_accelerator_library_is_pinned(pins: dict[str, str]) -> None:
    assert not [name for name in pins if name.startswith(("nvidia-", "cuda-"))]


def test_triton_is_the_release_that_torch_pins(pins: dict[str, str]) -> None:
    # what the CUDA build of torch 2.13.0 requires: beside it, no other could be installed
    assert (pins["torch"], pins["triton"]) == ("2.13.0", "3.7.1")
    for text in requires("torch") or []:  # a CPU build says nothing
        requirement = Requirement(text)
        if requirement.name == "triton":
            assert pins["triton"] in requirement.specifier


def test_the_running_environment_has_the_pinned_versions(
    pins: dict[str, str], project: dict[str, list[Requirement]]
) -> None:
    for requirement in project["run"] + project["test"]:
        if requirement.marker and not requirement.marker.evaluate():
            continue  # not for this platform
        installed = version(requirement.name).partition("+")[0]
        assert installed == pins[canonicalize_name(requirement.name)], (
            f"{requirement.name} {installed} is installed; `make setup` brings the pinned one."
        )


def test_conda_users_get_the_same_versions(
    repository: Path, pins: dict[str, str], project: dict[str, list[Requirement]]
) -> None:
    environment = yaml.safe_load((repository / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge"]
    python, pip, by_pip = environment["dependencies"]
    assert (python, pip) == ("python=3.11", "pip")
    listed = [Requirement(line) for line in by_pip["pip"] if not line.startswith("-")]
    every = project["run"] + project["test"] + project["cluster"]
    direct = {requirement.name: requirement.marker for requirement in every}
    assert {r.name: str(r.specifier) for r in listed} == {
        name: f"=={pins[canonicalize_name(name)]}" for name in direct
    }
    assert {requirement.name: requirement.marker for requirement in listed} == direct
    assert [line for line in by_pip["pip"] if line.startswith("-")] == [
        "-c constraints.txt",
        "-e .",
    ]


@pytest.mark.parametrize(
    ("folders", "lists"),
    [
        (["facenb", "notebooks", "scripts", "benchmarks"], ["run", "bench", "captions", "cluster"]),
        (["tests"], ["run", "test", "cluster"]),
    ],
)
def test_everything_that_is_imported_is_declared(
    repository: Path, project: dict[str, list[Requirement]], folders: list[str], lists: list[str]
) -> None:
    declared = {canonicalize_name(r.name) for name in lists for r in project[name]} | {"facenb"}
    declared |= {"scripts", "benchmarks"}
    declared.add("triton")  # optional: imported where it is installed, by penalties/kernels alone
    owners = packages_distributions()
    undeclared = {}
    for path in (path for folder in folders for path in (repository / folder).rglob("*.py")):
        tree = ast.parse(path.read_text())
        # what a tool imports inside a function is of an environment that it makes for itself
        for node in tree.body if path.parent.name == "references" else ast.walk(tree):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module or ""]
            else:
                continue
            for module in {name.partition(".")[0] for name in modules}:
                if module in sys.stdlib_module_names or (path.parent / f"{module}.py").exists():
                    continue
                packages = {canonicalize_name(name) for name in owners.get(module, [module])}
                if not packages & declared:
                    undeclared.setdefault(module, path.relative_to(repository))
    assert not undeclared, "add to pyproject.toml, constraints.txt and environment.yml"
