"""The live editor in a real JupyterLab, in headless Chromium: on the tour, and on photographs.

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
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import jupytext
import nbformat
import numpy as np
import pytest
from PIL import Image

from facenb.assets import asset_path
from facenb.storage.cache import cache_dir

if TYPE_CHECKING:
    from playwright.sync_api import Page

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
PATIENCE = 120_000  # milliseconds for any one thing to happen, on a machine that is busy
TOUR, FACES, PHOTOS = "00_tour", "faces", "photos"
# Real faces with all their scores and directions, and codes of one's own: a cell for each
CELLS = (
    """
import facenb
import torch
from facenb.widgets.explorer import Explorer
from facenb.samples import load_samples
plain = facenb.load_generator("mobilestylegan-ffhq-1024")
scorers = facenb.load_scorers(framing=plain.framing)
samples = load_samples(plain, scorers, 2_000, "w", check=False)
""",
    """
G = plain.variant(truncation=0.7)
directions = facenb.load_editors("interfacegan", plain.name)
own = G.map(G.sample(3, seed=5), "w+")
""",
    """
explorer = Explorer(G, directions, scorers, latents=own, reference_scores=samples.scores)
explorer
""",
)
# Photographs to upload, with a budget of seconds for the inversion
PHOTO_CELLS = (
    """
import facenb
from facenb.widgets.photo import PhotoEditor
G = facenb.load_generator("mobilestylegan-ffhq-1024")
editors = facenb.load_editors("interfacegan", G.name).select(["smile", "age"])
editor = PhotoEditor(G, editors, seconds=4)
editor
""",
)

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
THEME = """theme => window.jupyterapp.commands.execute(
    "apputils:change-theme", {theme: `JupyterLab ${theme}`})"""
# What a Python expression comes to in the kernel
IN_KERNEL = """async expression => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    const asked = kernel.requestExecute({
        code: "", silent: true, store_history: false, user_expressions: {value: expression},
    });
    return (await asked.done).content.user_expressions.value.data["text/plain"];
}"""
# The widths in pixels that an image has had, in order, until it has the width `last`
WIDTHS = """async (image, [last, patience]) => {
    const end = performance.now() + patience, seen = [];
    while (performance.now() < end) {
        if (image.complete && image.naturalWidth !== seen.at(-1)) seen.push(image.naturalWidth);
        if (seen.length > 1 && seen.at(-1) === last) return seen;
        await new Promise(resolve => setTimeout(resolve, 5));
    }
    return seen;
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
    """A copy of the tour, small, and a notebook of real faces, with room for what they write."""
    root = tmp_path_factory.mktemp("lab")
    tour = jupytext.read(repository / "notebooks" / f"{TOUR}.py")
    (cell,) = (c for c in tour.cells if "parameters" in c.metadata.get("tags", ()))
    for name, value in {"profile": "smoke", "generator": "digiface-dcgan-64"}.items():
        cell.source = re.sub(rf"^{name} = .*$", f'{name} = "{value}"', cell.source, flags=re.M)
    faces, photos = (
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        for cells in (CELLS, PHOTO_CELLS)
    )
    (root / "notebooks").mkdir()
    for name, notebook in {TOUR: tour, FACES: faces, PHOTOS: photos}.items():
        notebook.metadata.kernelspec = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        nbformat.write(notebook, root / "notebooks" / f"{name}.ipynb")
    return root


@pytest.fixture(scope="module")
def lab(folder: Path) -> Iterator[str]:
    """A JupyterLab of this environment, without the user's settings and kernels: the address of a
    notebook, with {} for its name.
    """
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
        # each in a workspace of its own: two pages of one would show each other's tabs
        yield f"{address}/lab/workspaces/{{0}}/tree/notebooks/{{0}}.ipynb?token={token}"
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
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(
    browser, address: str, repository: Path, name: str, widget: str = ".facenb-explorer"
) -> Iterator[Page]:
    """A notebook's page after Run → Run All Cells, with the widget of that class on it."""
    pictures = repository / "build" / "browser"
    pictures.mkdir(parents=True, exist_ok=True)
    page = browser.new_page(viewport={"width": 1366, "height": 768})
    page.set_default_timeout(PATIENCE)
    try:
        page.goto(address.format(name))
        page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext")
        page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.ready")
        page.evaluate("window.jupyterapp.shell.collapseLeft()")
        page.evaluate(THEME, "Light")
        run_all(page, widget)
        yield page
    finally:
        page.screenshot(path=pictures / f"last_{name}.png")
        page.close()


def run_all(page: Page, widget: str = ".facenb-explorer") -> None:
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    progress = page.wait_for_function(PROGRESS, timeout=4 * PATIENCE).json_value()
    assert progress == "done", progress
    page.evaluate(TO_EXPLORER)
    page.locator(f"{widget} .fx-row, {widget} .fp-row").first.wait_for()
    page.locator(widget).evaluate("element => element.scrollIntoView()")


@pytest.fixture(scope="module")
def tour(browser, lab: str, repository: Path):
    with opened(browser, lab, repository, TOUR) as page:
        yield page


@pytest.fixture(scope="module")
def faces(browser, lab: str, repository: Path):
    with opened(browser, lab, repository, FACES) as page:
        yield page


class OnPage:
    """The explorer on the page, as a user's eyes and hands have it."""

    def __init__(self, page) -> None:
        self.page, self.root = page, page.locator(".facenb-explorer")
        self.before, self.after = self.root.locator(".fx-before"), self.root.locator(".fx-after")

    def slider(self, label: str):
        """The handle of the slider with this label."""
        rows = self.root.locator(".fx-rows .widget-hslider")
        named = self.page.get_by_text(label, exact=True)
        return rows.filter(has=named).locator(".noUi-handle")

    def sliders(self) -> list[str]:
        """The labels of the sliders on screen."""
        return self.root.locator(".widget-hslider .widget-label").all_inner_texts()

    def shows_sliders(self, names: list[str]) -> None:
        """The sliders on screen come to be those whose labels begin so, in this order."""
        end = time.monotonic() + PATIENCE / 1000
        while (shown := [label.split()[0] for label in self.sliders()]) != names:
            assert time.monotonic() < end, shown
            time.sleep(0.05)

    def in_kernel(self, expression: str) -> str:
        """The value of a Python expression in the notebook's kernel, as it prints."""
        return self.page.evaluate(IN_KERNEL, expression)

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
def explorer(tour) -> OnPage:
    on_page = OnPage(tour)
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


def test_groups_and_search(explorer):
    seen = explorer.sliders()
    assert "Yaw" in seen and "Quality" not in seen  # its group is closed at first
    explorer.press("Quality")
    explorer.slider("Quality").wait_for()
    assert explorer.sliders()[-1] == "Quality"
    explorer.press("Quality")
    explorer.slider("Quality").wait_for(state="detached")
    search = explorer.root.get_by_placeholder("Search 13 edits")
    search.fill("no glasses")  # what an end is called
    explorer.shows_sliders(["Glasses"])
    explorer.slider("Glasses").press("PageUp")
    search.fill("")
    explorer.slider("Yaw").wait_for()
    explorer.root.locator("button", has_text="Accessories · 1 moved").wait_for()
    explorer.shows_sliders([label.split()[0] for label in seen])


def test_what_is_held_is_said(explorer):
    explorer.root.locator(".fx-rows input[type=checkbox]").nth(
        explorer.sliders().index("Age")
    ).click()
    explorer.root.locator(".fx-held", has_text="Age fixed").wait_for()
    explorer.press("Reset")
    explorer.root.locator(".fx-held", has_text="Age fixed").wait_for(state="detached")


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_fits_a_laptop_and_can_be_read(explorer, repository, theme):
    explorer.page.evaluate(THEME, theme)
    explorer.page.locator(f"[data-jp-theme-name='JupyterLab {theme}']").wait_for(state="attached")
    explorer.slider("Glasses").press("End")
    explorer.root.locator(".fx-row:not(.small)").first.wait_for()
    box = explorer.root.bounding_box()
    assert box["width"] <= 1210 and box["height"] <= 700
    assert explorer.root.evaluate("element => element.scrollWidth <= element.clientWidth")
    for text in (".fx-heading", ".fx-name", ".fx-towards", ".fx-change", ".widget-label", "button"):
        assert explorer.root.locator(text).first.evaluate(CONTRAST) >= 4.5, text
    # the picture for readers without a kernel makes room for the live one
    assert not explorer.page.locator(".jp-OutputArea-child:has(+ * .facenb-explorer)").is_visible()
    picture = repository / "build" / "browser" / f"explorer_{theme.lower()}.png"
    explorer.page.screenshot(path=picture)


def test_a_cell_that_is_run_again_shows_one_explorer(explorer):
    count = "len(__import__('ipywidgets').widgets.widget._instances)"
    before = int(explorer.in_kernel(count))
    run_all(explorer.page)
    explorer.page.locator(".facenb-explorer").wait_for()
    assert int(explorer.in_kernel(count)) <= before  # less those of groups opened since
    original = explorer.reset()
    explorer.slider("Smile").press("PageUp")
    explorer.shows_another(original)


def test_the_saved_page_shows_a_picture_without_the_kernel(tour):
    page = tour
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.reload()
    page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext")
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.ready")
    page.evaluate(TO_EXPLORER)
    saved = page.locator(".jp-OutputArea-child:has(+ * .jupyter-widgets) img")
    saved.wait_for()
    assert saved.evaluate("image => image.naturalWidth") > 600


# --- real faces, and codes of one's own


@pytest.fixture
def photographs(faces) -> OnPage:
    on_page = OnPage(faces)
    on_page.reset()
    return on_page


def test_a_preview_then_all_pixels(photographs):
    full, preview = (
        int(photographs.in_kernel(f"explorer._engine.{size}"))
        for size in ("full_size", "generator.preview_size")
    )
    assert (full, preview < full) == (1024, True)
    handle = photographs.slider("Smile")
    before = photographs.before.evaluate(SHOWN)
    photographs.after.evaluate(
        "(image, args) => { window.widths = (" + WIDTHS + ")(image, args) }", [full, PATIENCE]
    )
    handle.focus()
    for _ in range(8):
        handle.press("ArrowRight")
    widths = photographs.page.evaluate("window.widths")
    assert widths[-1] == full and preview in widths
    assert photographs.before.evaluate(SHOWN) == before  # sharp all the time
    assert photographs.before.evaluate("image => image.naturalWidth") == full


@pytest.mark.parametrize("width, height", [(1400, 900), (900, 900), (640, 900)])
def test_fits_every_width(photographs, repository, width, height):
    page = photographs.page
    page.set_viewport_size({"width": width, "height": height})
    photographs.slider("Age").press("End")
    photographs.root.locator(".fx-moved", has_text="3.0").wait_for()
    boxes = [image.bounding_box() for image in (photographs.before, photographs.after)]
    assert boxes[0]["width"] == boxes[1]["width"] and boxes[0]["y"] == boxes[1]["y"]
    for box in boxes:
        assert abs(box["width"] - box["height"]) < 1  # not stretched
    if width >= 1400:
        assert 384 <= boxes[0]["width"] <= 512
    assert photographs.root.evaluate("element => element.scrollWidth <= element.clientWidth")
    for row in photographs.root.locator(".fx-rows > *").all():
        assert row.evaluate("row => row.scrollWidth <= row.clientWidth + 1")
    page.wait_for_function("document.querySelector('.fx-after').naturalWidth === 1024")
    page.screenshot(path=repository / "build" / "browser" / f"faces_{width}.png")


def test_a_code_of_ones_own_and_all_its_pixels_in_a_file(photographs, folder):
    page = photographs.page
    page.set_viewport_size({"width": 1366, "height": 768})
    original = photographs.before.evaluate(SHOWN)
    field = photographs.root.get_by_role("spinbutton", name="Code")
    field.fill("2")
    field.press("Enter")
    assert photographs.before.evaluate(SHOWN_WHEN, [False, original, PATIENCE]) is not None
    page.wait_for_function("document.querySelector('.fx-before').naturalWidth === 1024")
    assert photographs.in_kernel("torch.equal(explorer.latents.values, own.values[2:])") == "True"
    photographs.press("PNG")
    saved = photographs.root.locator(".fx-status code")
    saved.wait_for()
    with Image.open(folder / "notebooks" / saved.inner_text()) as picture:
        assert picture.size == (1024 + 8 + 1024, 1024)


def test_directions_from_a_file(photographs, tmp_path):
    path = tmp_path / "hat.npy"
    np.save(path, np.random.default_rng(0).normal(size=(18, 512)).astype(np.float32))
    with photographs.page.expect_file_chooser() as chooser:
        photographs.press("Load directions")
    chooser.value.set_files(path)
    photographs.root.locator(".fx-status", has_text="Loaded hat 2 from hat.npy").wait_for()
    original = photographs.after.evaluate(SHOWN)
    photographs.slider("Hat 2").press("End")
    photographs.shows_another(original)
    assert photographs.in_kernel("explorer.state.strengths") == "{'hat 2': 3.0}"


def test_thirty_attributes_stay_usable(photographs):
    from playwright.sync_api import expect

    assert len(photographs.sliders()) <= 14  # the rest is a click or a word away
    search = photographs.root.get_by_placeholder(re.compile("Search 3. edits"))
    search.fill("lip corner")
    photographs.shows_sliders(["AU12", "AU15"])
    search.fill("")
    photographs.slider("Yaw").wait_for()
    rows = photographs.root.locator(".fx-chart .fx-row")
    expect(rows).to_have_count(14, timeout=60_000)
    choice = photographs.root.get_by_role("combobox")
    choice.select_option("Hair")
    expect(rows).to_have_count(6, timeout=60_000)
    assert "Wavy hair" in photographs.root.locator(".fx-chart").inner_text()
    choice.select_option("All scores")
    photographs.root.locator(".fx-chart .fx-group", has_text="Action units").wait_for()
    expect(rows).to_have_count(33, timeout=60_000)
    choice.select_option("Changed most")


# --- photographs that are uploaded


@pytest.fixture(scope="module")
def photos(browser, lab: str, repository: Path):
    with opened(browser, lab, repository, PHOTOS, ".facenb-photo") as page:
        yield page


def upload(page: Page, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.locator(".facenb-photo button", has_text="Photograph").click()
    chooser.value.set_files(path)


def test_a_photograph_is_uploaded_inverted_and_edited(photos, repository, tmp_path):
    page, root = photos, photos.locator(".facenb-photo")
    before, after = root.locator(".fp-before"), root.locator(".fp-after")
    empty = after.evaluate(SHOWN)
    assert "nothing is sent" in root.inner_text()
    upload(page, asset_path("astronaut/astronaut.png"))
    root.get_by_text("inverting, up to 4 seconds").wait_for()
    cut = before.evaluate(SHOWN_WHEN, [False, empty, PATIENCE])
    encoded = after.evaluate(SHOWN_WHEN, [False, empty, PATIENCE])
    assert None not in (cut, encoded) and cut != encoded
    root.get_by_text("Inverted after").wait_for()
    page.evaluate(IN_KERNEL, "editor.wait()")
    inverted = after.evaluate(SHOWN_WHEN, [False, encoded, PATIENCE])
    assert inverted is not None  # optimisation has changed what the encoder gave
    handle = root.locator(".noUi-handle").first
    handle.focus()
    for _ in range(30):
        handle.press("ArrowLeft")
    page.evaluate(IN_KERNEL, "editor.wait()")
    serious = after.evaluate(SHOWN_WHEN, [False, inverted, PATIENCE])
    assert serious is not None and before.evaluate(SHOWN) == cut
    page.screenshot(path=repository / "build" / "browser" / "photo.png")
    # a picture without a face: a message, and all else stays
    Image.new("RGB", (300, 300), "steelblue").save(tmp_path / "sky.png")
    upload(page, tmp_path / "sky.png")
    root.locator(".fl-wrong", has_text="sky.png: no face was found").wait_for()
    assert after.evaluate(SHOWN) == serious and before.evaluate(SHOWN) == cut


def test_a_second_photograph_replaces_a_running_inversion(photos):
    page, root = photos, photos.locator(".facenb-photo")
    kept = "globals().update(first=editor.photograph)"
    example = root.locator("button", has_text="Astronaut")
    example.click()
    root.get_by_text("astronaut.png: inverting").wait_for()
    page.evaluate(IN_KERNEL, kept)
    example.click()
    replaced = f"async () => await ({IN_KERNEL})('editor.photograph is not first') === 'True'"
    page.wait_for_function(replaced)
    root.get_by_text("Inverted after").wait_for()
    page.evaluate(IN_KERNEL, "editor.wait()")
    assert page.evaluate(IN_KERNEL, "first.inversion.spent < 4") == "True"
    assert page.evaluate(IN_KERNEL, "editor.photograph.inversion.spent >= 4") == "True"
