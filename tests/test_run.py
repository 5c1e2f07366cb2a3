"""The notebook driver, on tiny notebooks in a folder of its own."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import nbformat
import pytest

from facenb import run
from facenb.errors import UnknownNameError
from facenb.executed import clean
from facenb.figures import FigureFolder

PARAMETERS = """# %% tags=["parameters"]
profile = "laptop"
seed = 0
generator = "digiface-dcgan-64"
device = "cpu"
"""

GOOD = f"""# %% [markdown]
# # A title

{PARAMETERS}
# %%
import os, pathlib, sys
print(profile, seed, generator, device)
print(sys.executable == os.environ.get("EXPECTED_PYTHON"), pathlib.Path.cwd().name)
folder = pathlib.Path(os.environ["FACENB_FIGURES"]) / "00_good"
print(folder)
folder.mkdir(parents=True, exist_ok=True)
(folder / "numbers.json").write_text("42")
"""

BAD = PARAMETERS + '\n# %%\nprint("before")\n\n# %%\nraise ValueError("seven is not eight")\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "notebooks").mkdir()
    return tmp_path


def write(root: Path, **sources: str) -> None:
    for name, text in sources.items():
        (root / "notebooks" / f"{name.lstrip('n')}.py").write_text(text)


def output_text(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "".join(o.get("text", "") for c in cells for o in c.get("outputs", []))


def test_executes_with_parameters_in_the_notebooks_folder_and_this_interpreter(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A kernel that the user registered under the usual name must not be taken instead.
    rival = root / "user" / "kernels" / "python3"
    rival.mkdir(parents=True)
    spec = {"argv": ["false"], "display_name": "rival", "language": "python"}
    (rival / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(root / "user"))
    monkeypatch.setenv("EXPECTED_PYTHON", sys.executable)
    write(root, n00_good=GOOD)
    stale = root / "build" / "smoke" / "00_good" / "00_good.failed.ipynb"
    stale.parent.mkdir(parents=True)
    stale.write_text("{}")

    assert run.main(["0", "--profile", "smoke", "--seed", "7"], root) == 0

    saved = stale.with_name("00_good.ipynb")
    lines = output_text(saved).splitlines()
    assert lines[0] == "smoke 7 digiface-dcgan-64 cpu"
    assert lines[1] == "True notebooks"
    assert lines[2] == "build/smoke/00_good"  # relative: no path of this machine is kept
    assert stale.with_name("numbers.json").exists()
    assert not stale.exists()
    assert "00_good" in capsys.readouterr().out


def test_saved_notebook_holds_no_machine_path_or_clock(root: Path) -> None:
    write(root, n00_good=GOOD)
    assert run.main(["--profile", "smoke"], root) == 0
    saved = root / "build" / "smoke" / "00_good" / "00_good.ipynb"
    text = saved.read_text()
    assert str(root) not in text
    for key in ("start_time", "end_time", "duration", "input_path", "output_path", "iopub"):
        assert key not in text
    notebook = nbformat.read(saved, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.papermill.parameters.profile == "smoke"
    assert run.main(["--profile", "smoke"], root) == 0
    assert saved.read_text() == text  # a second run changes nothing


def test_a_failing_notebook_leaves_its_traceback_and_stops_the_run(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root, n00_bad=BAD, n01_good=GOOD)
    assert run.main(["--profile", "smoke"], root) == 1
    folder = root / "build" / "smoke" / "00_bad"
    assert [path.name for path in folder.iterdir()] == ["00_bad.failed.ipynb"]
    failed = nbformat.read(folder / "00_bad.failed.ipynb", as_version=4)
    errors = [o for c in failed.cells for o in c.get("outputs", []) if o.output_type == "error"]
    assert errors[0].evalue == "seven is not eight"
    assert output_text(folder / "00_bad.failed.ipynb") == "before\n"
    captured = capsys.readouterr()
    assert "ValueError: seven is not eight" in captured.err
    assert "00_bad.failed.ipynb" in captured.err
    assert "not run" in captured.out
    assert not (root / "build" / "smoke" / "01_good").exists()


def test_keep_going_runs_the_others_and_a_dead_kernel_is_a_failure(root: Path) -> None:
    write(root, n00_dead=PARAMETERS + "\n# %%\nimport os\nos._exit(3)\n", n01_good=GOOD)
    assert run.main(["--profile", "smoke", "--keep-going"], root) == 1
    assert (root / "build" / "smoke" / "00_dead" / "00_dead.failed.ipynb").exists()
    assert (root / "build" / "smoke" / "01_good" / "01_good.ipynb").exists()


def test_laptop_results_go_to_figures(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, n00_good=GOOD)
    assert run.main([], root) == 0
    assert (root / "figures" / "00_good" / "00_good.ipynb").exists()
    assert "notebooks: figures/" in capsys.readouterr().out


def test_another_generators_results_stay_out_of_figures() -> None:
    def folder(profile: str, generator: str | None) -> str:
        return run.output_folder(profile, generator, "digiface-dcgan-64").as_posix()

    assert folder("laptop", None) == folder("laptop", "digiface-dcgan-64") == "figures"
    assert folder("smoke", None) == "build/smoke"
    assert folder("smoke", "digiface-dcgan-64") == "build/smoke"
    assert folder("laptop", "stylegan2-ffhq-256") == "build/stylegan2-ffhq-256"
    assert folder("paper", None) == "build/paper"
    assert folder("paper", "/somewhere/network-snapshot.pkl") == "build/paper/network-snapshot"
    assert folder("smoke", "/somewhere/network-snapshot.pkl") == "build/smoke/network-snapshot"
    assert folder("laptop", "https://host/a/mine.pt?download=1") == "build/mine"


def test_a_generators_file_is_found_from_the_notebook_and_its_folder_is_not_told(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = """
from IPython.display import Markdown, display
from pathlib import Path
print(generator, Path(generator).read_text())
display(Markdown(generator))
"""
    write(root, n00_good=PARAMETERS + "\n# %%" + found)
    weights = root / "elsewhere" / "mine.pt"
    weights.parent.mkdir()
    weights.write_text("weights")
    monkeypatch.chdir(weights.parent)
    assert run.main(["--generator", "mine.pt"], root) == 0
    assert "build/mine/" in capsys.readouterr().out
    assert not (root / "figures").exists()
    saved = root / "build" / "mine" / "00_good" / "00_good.ipynb"
    assert output_text(saved) == "mine.pt weights\n"
    assert "elsewhere" not in saved.read_text()
    assert nbformat.read(saved, as_version=4).metadata.papermill.parameters.generator == "mine.pt"


def test_a_folder_keeps_a_file_by_its_name_and_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACENB_FIGURES", str(tmp_path / "figures"))
    (tmp_path / "mine.pt").write_text("weights")
    kept = FigureFolder("00_good", generator=str(tmp_path / "mine.pt")).record["generator"]
    assert kept == "mine (sha256 9a129038d9a0)"
    for name in ("digiface-dcgan-64", "mine"):  # a loaded generator's name, its file left behind
        assert FigureFolder("00_good", generator=name).record["generator"] == name


def test_a_notebook_that_has_nothing_more_to_show_ends_without_a_failure(root: Path) -> None:
    ended = '\n# %%\nprint("said why")\nraise SystemExit from None\n\n# %%\nprint("more")\n'
    write(root, n00_short=PARAMETERS + ended)
    assert run.main(["--profile", "smoke"], root) == 0
    assert output_text(root / "build" / "smoke" / "00_short" / "00_short.ipynb").startswith("said")
    assert "more\n" not in output_text(root / "build" / "smoke" / "00_short" / "00_short.ipynb")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--profile", "lapdog"], ["'lapdog'", "smoke, laptop, paper"]),
        (["--device", "gpu"], ["'gpu'", "cpu, cuda, mps"]),
        (["--device", "cuda:99"], ["'cuda:99'", "cannot be used on this machine"]),
        (["05"], ["'05'", "00_good, 02_other"]),
        (["two"], ["'two'", "00_good, 02_other"]),
        (["--generator", "nowhere.pt"], ["no file nowhere.pt"]),
        (["--generator", "stylegan9"], ["'stylegan9'", "mobilestylegan-ffhq-1024, digiface"]),
    ],
)
def test_a_wrong_request_lists_what_is_known(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: list[str]
) -> None:
    write(root, n00_good=GOOD, n02_other=GOOD)
    assert run.main(arguments, root) == 2
    complaint = capsys.readouterr().err
    assert all(part in complaint for part in said), complaint


def test_notebooks_are_found_in_order_by_number_or_name(root: Path) -> None:
    write(root, n02_b=GOOD, n00_a=GOOD, n10_c=GOOD)
    folder = root / "notebooks"
    (folder / "helper.py").write_text("")

    def stems(*wanted: str) -> list[str]:
        return [path.stem for path in run.find_notebooks(folder, wanted)]

    assert stems() == ["00_a", "02_b", "10_c"]
    assert stems("10", "2") == ["02_b", "10_c"]
    assert stems("02_b") == ["02_b"]
    with pytest.raises(UnknownNameError, match="1"):
        stems("1")
    with pytest.raises(FileNotFoundError, match="no notebook"):
        run.find_notebooks(root)


def test_a_notebook_without_a_parameter_cell_is_refused(root: Path) -> None:
    write(root, n00_plain="# %%\n1 + 1\n")
    with pytest.raises(ValueError, match="parameters"):
        run.run_notebook(root / "notebooks" / "00_plain.py", root, {}, root)
    assert run.main([], root) == 2


def test_paths_are_replaced_in_text_but_never_in_pictures(tmp_path: Path) -> None:
    cell = nbformat.v4.new_code_cell("1")
    picture = f"{tmp_path}/abc"
    data = {"text/plain": f"{tmp_path}/x.png", "image/png": picture}
    cell.outputs = [
        nbformat.v4.new_output("display_data", data),
        nbformat.v4.new_output("stream", text="/tmp/ipykernel_12/345.py:3: Warning"),
    ]
    cleaned = clean(nbformat.v4.new_notebook(cells=[cell]), tmp_path)
    shown, warned = cleaned.cells[0].outputs
    assert shown.data["text/plain"] == "x.png"
    assert shown.data["image/png"] == picture
    assert warned.text == "<cell>:3: Warning"


def test_a_saved_figure_is_found_from_the_executed_copy_too(tmp_path: Path) -> None:
    text = "![a strip](../figures/01_first/a.png), [02](../figures/02/b.csv), [d](../docs/d.md)"
    code = "'](../figures/'"
    cells = [nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell(code)]
    cleaned = clean(nbformat.v4.new_notebook(cells=cells), tmp_path)
    seen = "![a strip](../01_first/a.png), [02](../02/b.csv), [d](../../docs/d.md)"
    assert cleaned.cells[0].source == seen
    assert cleaned.cells[1].source == code


def test_the_committed_copies_show_figures_that_are_there(repository: Path) -> None:
    copies = sorted((repository / "figures").glob("*/*.ipynb"))
    assert copies
    for copy in copies:
        for cell in nbformat.read(copy, as_version=4).cells:
            if cell.cell_type == "markdown":
                for place in re.findall(r"\]\((\.\.?/[^)#]+)\)", cell.source):
                    assert (copy.parent / place).exists(), f"{copy.name}: {place}"


def test_progress_bars_are_no_results():
    bar = "scoring yaw:  50%|█████     | 2/4 [00:01<00:01, 1.5batch/s]"
    cell = nbformat.v4.new_code_cell("x")
    output = nbformat.v4.new_output
    cell.outputs = [
        output("display_data", {"text/plain": bar}),
        output("stream", name="stderr", text=f"\r{bar}\r{bar}\n"),
        output("stream", name="stderr", text="7step [00:04,  1.6step/s]\n"),
        output("stream", name="stdout", text="100% | of it\n"),
        output("stream", name="stderr", text=f"{bar}\nand a warning\n"),
        output("execute_result", {"text/plain": "42"}),
    ]
    kept = clean(nbformat.v4.new_notebook(cells=[cell]), Path("/nowhere")).cells[0].outputs
    assert [o.output_type for o in kept] == ["stream", "stream", "execute_result"]
