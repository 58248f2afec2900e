"""A page in headless Chromium: what it asks for, what it complains of, and what is to be seen."""

import base64
import contextlib
import json
import shutil
import tempfile
from pathlib import Path

import pytest

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
OPTIONS = (
    "--headless",
    "--no-sandbox",  # As root there is none.
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
# Figures that show nothing: without a drawing, without area, or with nothing on their ground.
EMPTY = """
const marks = (drawing) => [...drawing.querySelectorAll('path, use, image')].filter((mark) => {
    const box = mark.getBoundingClientRect(), style = getComputedStyle(mark);
    const colours = mark.tagName === 'image' || style.fill !== 'none' || style.stroke !== 'none';
    return colours && box.width + box.height > 0 && !mark.closest('defs');
});
return [...document.querySelectorAll('figure')].filter((figure) => {
    const drawing = figure.querySelector('svg'), box = drawing && drawing.getBoundingClientRect();
    return !(box && box.width > 100 && box.height > 50 && marks(drawing).length > 1);
}).map((figure) => figure.id);
"""
BROKEN = """
const pictures = [...document.images].map((image) => image.src);
pictures.push(...[...document.querySelectorAll('svg image')].map((image) => image.href.baseVal));
return Promise.all(pictures.map(async (source) => {
    const image = new Image();
    image.src = source;
    try { await image.decode(); } catch { return source.slice(0, 40); }
    return image.naturalWidth > 0 ? null : source.slice(0, 40);
})).then((found) => [...new Set(found.filter(Boolean))]);
"""
# The luminance, from 0 to 255, of the ground of each figure: of the first that is painted.
GROUNDS = """
return [...document.querySelectorAll('figure svg')].map((drawing) => {
    const fill = getComputedStyle(drawing.querySelector('path')).fill;
    const [red, green, blue] = fill.match(/\\d+/g).map(Number);
    return (red + green + blue) / 3;
});
"""
WIDE = """
const limit = document.documentElement.clientWidth;
return [...document.body.querySelectorAll('*')].filter((part) =>
    !part.closest('.scroll > *') && part.getBoundingClientRect().right > limit + 1
).map((part) => `${part.tagName}.${part.className}`);
"""


@contextlib.contextmanager
def opened():
    """A browser with an empty profile; skips the test where there is none."""
    if not (BROWSER and DRIVER):
        pytest.skip(
            "Chromium and its driver are not installed: apt-get install chromium chromium-driver"
        )
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason='pip install ".[test]" brings Selenium'
    )
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for option in (*OPTIONS, f"--user-data-dir={profile}"):
            options.add_argument(option)
        service = webdriver.ChromeService(DRIVER)
        browser = webdriver.Chrome(options=options, service=service)
        try:
            browser.get("about:blank")  # Away from the browser's own first page.
            yield browser
        finally:
            browser.quit()


def visit(browser, page, width, scheme="light"):
    """Opens a page from disk.

    Args:
        browser: see `opened`.
        page: path.
        width: int, of the window (pixels).
        scheme: str, "light" or "dark", what the reader prefers.
    Returns:
        Pair: requested addresses (list of str), and the console's lines (list of str).
    """
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    for kind in ("performance", "browser"):
        browser.get_log(kind)  # Earlier entries belong to other pages.
    browser.get(Path(page).resolve().as_uri())
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    addresses = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    return addresses, [entry["message"] for entry in browser.get_log("browser")]


def photograph(browser, file):
    """Writes a picture of the whole page.

    Args:
        browser: see `opened`.
        file: path of the PNG.
    """
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
    Path(file).write_bytes(base64.b64decode(shot["data"]))
