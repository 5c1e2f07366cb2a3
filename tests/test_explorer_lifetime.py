"""What is left of a live editor that is closed, replaced or forgotten: nothing."""

from __future__ import annotations

import ast
import gc
import os
import secrets
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
import torch
from ipywidgets.widgets import widget as registry
from jupyter_client import KernelManager
from tiny import DIM, NAMES, StyledGenerator, TinyGenerator, TinySuite, drive

from facenb.editors import Editors
from facenb.errors import FacenbError
from facenb.widgets import live
from facenb.widgets.explorer import Explorer, screen

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path / "cache"))
    gc.collect()  # the explorers of other tests


def build(generator, space: str = "z", **options) -> Explorer:
    vectors = torch.randn(3, DIM, generator=torch.Generator().manual_seed(2))
    return Explorer(generator, Editors.from_vectors(NAMES, vectors, space), size=16, **options)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("facenb-")]


def wait_for_threads() -> None:
    """Until those that were told to end have done so."""
    for thread in threading.enumerate():
        if thread.name.startswith("facenb-"):
            thread.join(30)


def test_close_frees_widgets_threads_and_generator():
    before = len(registry._instances)
    generator = StyledGenerator()
    explorer = build(generator, "w", scorers=TinySuite(), reference_scores=torch.randn(9, 2))
    explorer._view.sliders.search.value = "smile"  # hides the other sliders; they count as well
    explorer.set(smile=1.0)
    gone = weakref.ref(generator)
    assert len(registry._instances) > before + 20 and threads()
    explorer.close()
    del generator
    wait_for_threads()
    gc.collect()
    assert len(registry._instances) == before and not threads() and gone() is None
    explorer.close()  # again is nothing
    for use in (lambda: explorer.image, explorer.reset, lambda: explorer.state):
        with pytest.raises(FacenbError, match="closed"):
            use()
    assert "closed" not in repr(explorer)


def test_close_does_not_wait_for_a_full_image(monkeypatch):
    monkeypatch.setattr(screen, "REST", 0)
    generator = StyledGenerator()
    explorer = build(generator, "w")
    explorer.render()
    gone = weakref.ref(generator)
    slider = explorer._view.sliders.slider("smile")
    generator.begun.clear()

    def move() -> None:
        generator.gate.clear()  # the full image never comes
        slider.value = 1.0
        assert generator.begun.wait(30)
        explorer.close()

    drive(move)
    generator = None
    wait_for_threads()
    gc.collect()
    assert gone() is None


def test_an_explorer_that_nobody_needs_goes_by_itself():
    before, generators = len(registry._instances), []
    for _ in range(3):
        generator = TinyGenerator()
        generators.append(weakref.ref(generator))
        explorer = build(generator)
        explorer.set(age=1.0)
    del generator
    gc.collect()
    one = len(registry._instances) - before
    assert [generator() is None for generator in generators] == [True, True, False]
    explorer.set(smile=1.0)  # the threads are still there for the last
    del explorer
    wait_for_threads()
    gc.collect()
    assert generators[2]() is None and len(registry._instances) == before and one > 20
    assert not threads()


def test_thirty_sliders_cost_few_widgets():
    gc.collect()
    before = len(registry._instances)
    vectors = torch.randn(30, 40, generator=torch.Generator().manual_seed(2))
    names = ["smile", "surprise", "age", "gender", "yaw", "pitch", "hat", "beard"]
    names += [f"d{i}" for i in range(22)]

    class Wide(TinyGenerator):
        latent_dim = 40

        def __init__(self) -> None:
            super().__init__()
            self.basis = torch.nn.Parameter(torch.randn(40, 192), False)

    explorer = Explorer(Wide(), Editors.from_vectors(tuple(names), vectors), size=16)
    count = len(registry._instances) - before
    assert count < 140  # three widgets for each part that cannot share its looks
    for section in explorer._view.sliders._sections.values():
        if not section.opened:
            section.button.click()
    assert len(registry._instances) - before - count == 2 * 22  # a slider and a tick each
    explorer.close()
    assert len(registry._instances) == before


def test_python_can_end_while_a_full_image_is_due():
    program = """
import asyncio, atexit, time
atexit.register(time.sleep, 0.5)  # when no thread takes new work any more
from test_explorer_lifetime import build
from tiny import StyledGenerator

async def move():
    explorer._view.sliders.slider("smile").value = 1.0

explorer = build(StyledGenerator(), "w")
asyncio.run(move())
explorer._screen.preview()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=HERE, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_outside_a_kernel_nothing_is_kept():
    kept = len(live._SHOWN)
    live.keep(object(), lambda: None)
    assert len(live._SHOWN) == kept


# --- in a kernel


SETUP = f"""
import gc, sys, threading, weakref
sys.path.insert(0, {str(HERE)!r})
from ipywidgets.widgets.widget import _instances
from tiny import StyledGenerator
from test_explorer_lifetime import build
generators = []

def fresh():
    generator = StyledGenerator()
    generators.append(weakref.ref(generator))
    return build(generator, "w")

def facts():
    gc.collect()
    return len(_instances), sum(g() is not None for g in generators)
"""


class Kernel:
    """Runs cells as JupyterLab does, which says which cell it is."""

    def __init__(self, cache: str) -> None:
        self.manager = KernelManager()
        self.manager.kernel_spec.argv[0] = sys.executable
        self.manager.start_kernel(env={**os.environ, "FACENB_CACHE": cache})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, code: str, cell: str | None = None, value: str = "None") -> object:
        """Run a cell; the value of an expression afterwards."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {"value": value},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        message = self.client.session.msg("execute_request", content)
        message["metadata"] = {"cellId": cell or secrets.token_hex(4)}
        self.client.shell_channel.send(message)
        while True:
            reply = self.client.get_shell_msg(timeout=120)
            if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                break
        assert reply["content"]["status"] == "ok", reply["content"]
        return ast.literal_eval(reply["content"]["user_expressions"]["value"]["data"]["text/plain"])

    def stop(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    kernel = Kernel(str(tmp_path_factory.mktemp("cache")))
    try:
        kernel.run(SETUP)
        yield kernel
    finally:
        kernel.stop()


def test_a_cell_that_is_run_again_keeps_one_explorer(kernel):
    widgets, generators = kernel.run("", value="facts()")
    counts = [kernel.run("fresh()", "a", "facts()") for _ in range(4)]  # no name, as in a hurry
    assert counts == [counts[0]] * 4 and counts[0][1] == generators + 1
    one = counts[0][0] - widgets
    counts = [kernel.run("e = fresh()\ne", "b", "facts()") for _ in range(3)]
    assert counts == [(widgets + 2 * one, generators + 2)] * 3
    assert kernel.run("e.set(smile=1.0)", value="e.state.strengths") == {"smile": 1.0}
    kernel.run("e.close()")
    for _ in range(20):  # close does not wait for an image that is being drawn
        if (found := kernel.run("", value="facts()")) == (widgets + one, generators + 1):
            break
        time.sleep(0.5)
    assert found == (widgets + one, generators + 1)


def test_what_a_variable_holds_is_not_closed(kernel):
    kernel.run("first = fresh()\nfirst", "c")
    kernel.run("second = fresh()\nsecond", "c")
    assert kernel.run("first.set(age=1.0)\nfirst", "d", "first.state.strengths") == {"age": 1.0}
    before = kernel.run("", value="facts()")
    kernel.run("first", "d")  # shown again, it is the same one
    assert kernel.run("", value="facts()") == before
    kernel.run("first.close(); second.close(); del first, second")
    assert kernel.run("", value="facts()")[1] == before[1] - 2


def test_other_widgets_of_a_cell_go_as_well(kernel):
    cell = """
import ipywidgets
from facenb.widgets.live import page, show
show(page(ipywidgets.HBox([ipywidgets.IntSlider()]), css=""), b"", "a slider")
"""
    counts = [kernel.run(cell, "e", "facts()") for _ in range(3)]
    assert counts == [counts[0]] * 3
