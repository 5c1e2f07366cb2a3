"""The live editor in a real JupyterLab, in headless Chromium: sliders, Reset, a page on its own.

Skipped where there is no Chromium, unless FACENB_REQUIRE_BROWSER=1. Leaves build/browser/*.png.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbformat
import pytest

from facenb.assets import cache_dir

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
REQUIRED = os.environ.get("FACENB_REQUIRE_BROWSER") == "1"
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not REQUIRED,
    reason="no Chromium on the PATH (on Debian: apt install chromium)",
)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking "
    "--disable-component-update --disable-sync --no-first-run"
).split()
PATIENCE = 60_000  # milliseconds for any one thing to happen, on a machine that is busy
NOTEBOOK = "00_tour"

# The bytes behind an image's address; null while the address is being replaced by a newer one
SHOWN = """async image => {
    try {
        const bytes = await (await fetch(image.src)).arrayBuffer();
        return Array.from(new Uint8Array(bytes), byte => String.fromCharCode(byte)).join("");
    } catch { return null; }
}"""
# The same once they are (or are no longer) the bytes `other`; null when that does not happen
SHOWN_WHEN = f"""async (image, [equal, other, patience]) => {{
    const end = performance.now() + patience;
    while (performance.now() < end) {{
        const now = await ({SHOWN})(image);
        if (now !== null && (now === other) === equal) return now;
        await new Promise(resolve => setTimeout(resolve, 20));
    }}
    return null;
}}"""
# "done" when every code cell has run, or the error that stopped them
PROGRESS = """() => {
    const cells = [...window.jupyterapp.shell.currentWidget.content.model.cells];
    const code = cells.filter(cell => cell.type === "code");
    const outputs = code.flatMap(cell => cell.outputs.toJSON());
    const error = outputs.find(output => output.output_type === "error");
    if (error) return `${error.ename}: ${error.evalue}`;
    return code.every(cell => cell.executionCount) ? "done" : null;
}"""
# JupyterLab draws only the cells that are near: go to the last one that shows a widget
TO_EXPLORER = """() => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    const widget = output => output.data?.["application/vnd.jupyter.widget-view+json"];
    const shows = cell => cell.type === "code" && cell.outputs.toJSON().some(widget);
    const index = [...notebook.model.cells].findLastIndex(shows);
    notebook.activeCellIndex = index;
    return notebook.scrollToItem(index, "start");
}"""
# Contrast of an element's text with what is behind it (WCAG 2.1, 1.4.3)
CONTRAST = """element => {
    const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    let [r, g, b, alpha = 1] = numbers(getComputedStyle(element).color);
    let behind = element, back;
    do {
        back = numbers(getComputedStyle(behind).backgroundColor);
        behind = behind.parentElement;
    } while ((back[3] ?? 1) === 0);
    const text = [r, g, b].map((v, i) => v * alpha + back[i] * (1 - alpha));
    const [low, high] = [light(text), light(back)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
}"""


@pytest.fixture(scope="module")
def folder(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the notebook, in the smoke profile, with room for what it writes."""
    root = tmp_path_factory.mktemp("lab")
    notebook = jupytext.read(repository / "notebooks" / f"{NOTEBOOK}.py")
    (cell,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", ()))
    cell.source = re.sub(r"^profile = .*$", 'profile = "smoke"', cell.source, flags=re.M)
    notebook.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    (root / "notebooks").mkdir()
    nbformat.write(notebook, root / "notebooks" / f"{NOTEBOOK}.ipynb")
    return root


@pytest.fixture(scope="module")
def lab(folder: Path) -> Iterator[str]:
    """The address of a JupyterLab of this environment, without the user's settings and kernels."""
    if CHROMIUM is None:
        pytest.fail("FACENB_REQUIRE_BROWSER=1, and there is no Chromium on the PATH.")
    own = folder / "own"
    settings = own / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
    places = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    environment = os.environ | {name: str(own / name.lower()) for name in places}
    environment |= {
        "JUPYTERLAB_SETTINGS_DIR": str(own / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(own / "workspaces"),
        "FACENB_CACHE": str(cache_dir()),
        "FACENB_FIGURES": str(folder / "figures"),
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token, address = secrets.token_hex(16), f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}"]
    command += [f"--IdentityProvider.token={token}", "--allow-root", "--expose-app-in-browser"]
    log = folder / "lab.log"
    with log.open("w") as stream:
        server = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)
    try:
        wait_for_server(f"{address}/api/status?token={token}", server, log)
        yield f"{address}/lab/tree/notebooks/{NOTEBOOK}.ipynb?token={token}"
    finally:
        server.terminate()  # ends its kernels too
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_for_server(url: str, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def page(lab: str, repository: Path):
    """The notebook's page after Run → Run All Cells, with the explorer on it."""
    from playwright.sync_api import sync_playwright

    pictures = repository / "build" / "browser"
    pictures.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        page.set_default_timeout(PATIENCE)
        try:
            page.goto(lab)
            page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext")
            page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.ready")
            page.get_by_role("menuitem", name="Run", exact=True).click()
            page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
            progress = page.wait_for_function(PROGRESS).json_value()
            assert progress == "done", progress
            page.evaluate(TO_EXPLORER)
            page.locator(".facenb-explorer .fx-row").first.wait_for()
            page.locator(".facenb-explorer").evaluate("element => element.scrollIntoView()")
            yield page
        finally:
            page.screenshot(path=pictures / "last.png")
            browser.close()


class OnPage:
    """The explorer on the page, as a user's eyes and hands have it."""

    def __init__(self, page) -> None:
        self.page, self.root = page, page.locator(".facenb-explorer")
        self.before, self.after = self.root.locator(".fx-before"), self.root.locator(".fx-after")

    def slider(self, label: str):
        """The handle of the slider with this label."""
        rows = self.root.locator(".fx-slider")
        named = self.page.get_by_text(label, exact=True)
        return rows.filter(has=named).locator(".noUi-handle")

    def press(self, label: str) -> None:
        self.root.locator("button", has_text=label).click()

    def shows(self, picture: str) -> None:
        """The edited image comes to show the bytes `picture`."""
        found = self.after.evaluate(SHOWN_WHEN, [True, picture, PATIENCE])
        assert found is not None, "the picture that was expected never came"

    def shows_another(self, picture: str) -> str:
        """The edited image comes to show other bytes than `picture`; these."""
        found = self.after.evaluate(SHOWN_WHEN, [False, picture, PATIENCE])
        assert found is not None, "the picture never changed"
        return found

    def reset(self) -> str:
        """Press Reset; the bytes of the unedited picture, once both images show it."""
        if self.root.locator(".fx-moved").count():
            self.press("Reset")
        original = self.before.evaluate(SHOWN)
        self.shows(original)
        return original


@pytest.fixture
def explorer(page) -> OnPage:
    on_page = OnPage(page)
    on_page.reset()
    return on_page


def test_a_slider_moves_the_picture_and_reset_brings_it_back(explorer):
    original = explorer.reset()
    handle = explorer.slider("Glasses")
    handle.focus()
    for _ in range(20):
        handle.press("ArrowRight")
    edited = explorer.shows_another(original)
    assert explorer.before.evaluate(SHOWN) == original
    explorer.root.locator(".fx-moved", has_text="2.0").wait_for()
    box = explorer.slider("Yaw").bounding_box()  # now by mouse, in many small steps
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    explorer.page.mouse.move(x, y)
    explorer.page.mouse.down()
    explorer.page.mouse.move(x - 60, y, steps=30)
    explorer.page.mouse.up()
    explorer.shows_another(edited)
    assert explorer.before.evaluate(SHOWN) == original
    explorer.press("Reset")
    explorer.shows(original)
    assert not explorer.root.locator(".fx-moved").count()
    explorer.press("Undo")
    explorer.shows_another(original)


def test_an_edit_is_saved_and_loaded_in_the_browser(explorer, folder):
    original = explorer.reset()
    explorer.slider("Smile").press("PageUp")
    edited = explorer.shows_another(original)
    explorer.press("Save edit")
    saved = explorer.root.locator(".fx-status code")
    saved.wait_for()
    path = folder / "notebooks" / saved.inner_text()
    for _ in range(2):  # the same file can be loaded again
        explorer.reset()
        with explorer.page.expect_file_chooser() as chooser:
            explorer.press("Load edit")
        chooser.value.set_files(path)
        explorer.shows(edited)
        explorer.root.locator(".fx-status", has_text="Loaded").wait_for()


def test_a_bad_seed_is_a_message(explorer):
    seed = explorer.root.get_by_role("textbox", name="Seed")
    face = seed.input_value()
    seed.fill("seven")
    seed.press("Enter")
    explorer.root.get_by_role("alert").filter(has_text="expected a whole number").wait_for()
    assert seed.input_value() == face


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_fits_a_laptop_and_can_be_read(explorer, repository, theme):
    explorer.page.evaluate(
        "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})",
        f"JupyterLab {theme}",
    )
    explorer.page.locator(f"[data-jp-theme-name='JupyterLab {theme}']").wait_for(state="attached")
    explorer.slider("Glasses").press("End")
    explorer.root.locator(".fx-row:not(.small)").first.wait_for()
    box = explorer.root.bounding_box()
    assert box["width"] <= 1100 and box["height"] <= 700
    assert explorer.root.evaluate("element => element.scrollWidth <= element.clientWidth")
    for text in (".fx-heading", ".fx-name", ".fx-low", ".fx-change", ".widget-label", "button"):
        assert explorer.root.locator(text).first.evaluate(CONTRAST) >= 4.5, text
    # the picture for readers without a kernel makes room for the live one
    assert not explorer.page.locator(".jp-OutputArea-child:has(+ * .facenb-explorer)").is_visible()
    picture = repository / "build" / "browser" / f"explorer_{theme.lower()}.png"
    explorer.page.screenshot(path=picture)


def test_the_saved_page_shows_a_picture_without_the_kernel(page):
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.reload()
    page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext")
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.ready")
    page.evaluate(TO_EXPLORER)
    saved = page.locator(".jp-OutputArea-child:has(+ * .jupyter-widgets) img")
    saved.wait_for()
    assert saved.evaluate("image => image.naturalWidth") > 600
