"""Report pages in a real browser: readable on a phone and a desktop, and by those who do not see.

The browser is Debian's headless Chromium, which is installed where it is not and the environment
says so; the rules are axe-core's, out of a package of the index.
"""

import html
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from distillkit.reporting import html as run_page
from distillkit.reporting import sweep_page
from tests.pages import EVIL, results
from tests.unit.reporting.test_sweeps import SWEEP

pytestmark = pytest.mark.network
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
INSTALL = "DISTILLKIT_TESTS_INSTALL"  # a package of the system
AXE = "axe-playwright-python==0.1.8"  # has axe-core's one file in it
SERIOUS = ("serious", "critical")
PROBE = """
<script>
addEventListener("load", async () => {
  const told = {
    width: document.documentElement.scrollWidth, inner: innerWidth,
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    paper: getComputedStyle(document.body).backgroundColor,
  };
  const first = () => document.querySelector("table.sortable tbody tr").textContent.trim();
  const button = [...document.querySelectorAll("table.sortable th button")][1];
  button.click(); told.falling = first(); button.click(); told.rising = first();
  const found = await axe.run(document, {resultTypes: ["violations"]});
  told.violations = found.violations.map((it) => ({
    id: it.id, impact: it.impact, help: it.help, nodes: it.nodes.map((n) => n.html).slice(0, 3)}));
  told.passes = found.passes.length;
  const result = document.createElement("pre");
  result.id = "told"; result.textContent = JSON.stringify(told);
  document.body.prepend(result);
});
</script>
"""


@pytest.fixture(scope="session")
def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found:
        return found
    if INSTALL not in os.environ or not shutil.which("apt-get") or os.getuid():
        pytest.skip(f"no Chromium; as root {INSTALL}=1 has it installed by apt-get")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "-y", "--no-install-recommends", BROWSERS[0]]):
        done = subprocess.run(["apt-get", *words], capture_output=True, text=True, env=quiet)
    if done.returncode:
        pytest.skip(f"Chromium cannot be installed: {done.stderr[-300:]}")
    return str(shutil.which(BROWSERS[0]))


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("axe")
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), AXE]
    subprocess.run(pip, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        (name,) = [name for name in files.namelist() if name.endswith("axe.min.js")]
        return files.read(name).decode()


PAGES = {
    "run": lambda: run_page.page(
        results(), title="bert-tiny: minilm -> student", config="seed: 0\n" * 40, packages={}
    ),
    "foreign": lambda: run_page.page(results(EVIL), title=EVIL[0], packages={EVIL[4]: "1"}),
    "sweep": lambda: sweep_page.page(SWEEP, title="4 runs"),
}


def open_page(browser: str, page: Path, *, width: int, dark: bool) -> str:
    """The document as it is once its scripts have run."""
    done = subprocess.run(
        [
            browser,
            "--no-sandbox",
            "--headless",
            "--disable-gpu",
            f"--window-size={width},900",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--virtual-time-budget=20000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def probe(browser: str, text: str, axe: str, folder: Path, **how: Any) -> dict[str, Any]:
    """What the browser and axe-core say of a page."""
    path = folder / "page.html"
    path.write_text(f"{text}<script>{axe}</script>{PROBE}", encoding="utf-8")
    document = open_page(browser, path, **how)
    told = document.partition('<pre id="told">')[2].partition("</pre>")[0]
    found: dict[str, Any] = json.loads(html.unescape(told))
    return found


CASES = [
    ("run", 390, False),
    ("run", 390, True),
    ("run", 1280, False),
    ("run", 1280, True),
    ("foreign", 390, True),
    ("sweep", 390, False),
    ("sweep", 1280, True),
]


@pytest.mark.parametrize(("name", "width", "dark"), CASES)
def test_a_page_is_readable_for_all(
    browser: str, axe: str, tmp_path: Path, name: str, width: int, dark: bool
) -> None:
    found = probe(browser, PAGES[name](), axe, tmp_path, width=width, dark=dark)
    assert [it for it in found["violations"] if it["impact"] in SERIOUS] == []
    assert found["passes"] > 15
    assert found["inner"] == width
    assert found["width"] <= width  # what is wide scrolls in its own box
    assert found["dark"] == dark
    assert found["paper"] == ("rgb(13, 17, 23)" if dark else "rgb(255, 255, 255)")
    if name == "run":  # sorted by a title, and once more
        assert found["falling"].startswith("teacher")  # 0.9, the best
        assert found["rising"].startswith("control")  # 0.79


def test_without_scripts_all_is_there(browser: str, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    closed = """<meta http-equiv="Content-Security-Policy" content="script-src 'none'">"""
    page = PAGES["run"]().replace("<title>", f"{closed}<title>", 1)
    path.write_text(page, encoding="utf-8")
    document = open_page(browser, path, width=390, dark=False)
    assert "<button" not in document
    for text in ("within the noise", "1,293", "88.9%", "Where the time went", "seed: 0"):
        assert text in document


def test_text_of_others_runs_nothing(browser: str, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(PAGES["foreign"](), encoding="utf-8")
    document = open_page(browser, path, width=1280, dark=False)
    assert "onerror=alert(1)&gt;" in document
    assert "<img" not in document
