"""A headless Chromium, and screenshots of what it shows.

HANDLEREF_SCREENSHOTS=docs/images renews the pictures in the docs.
"""

import io
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTH = 1200


def executable(playwright):
    """The path of a Chromium: the system's, or playwright's own. Without one the test is skipped, or fails in CI."""
    own = playwright.chromium.executable_path
    found = next(filter(None, map(shutil.which, NAMES)), own if os.path.exists(own) else None)
    if found is None:
        reason = f"There is no Chromium: looked for {', '.join(NAMES)} and {own}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason + ". In CI a test that is not run is a failure.")
        pytest.skip(reason)
    return found


@contextmanager
def chromium():
    """A new page of a browser of its own. JavaScript errors fail the test that meets them."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(playwright), args=ARGUMENTS)
        try:
            page = browser.new_page(viewport={"width": WIDTH, "height": 500}, locale="en-GB")
            errors = []
            page.on("pageerror", lambda error: errors.append(error))
            page.set_default_timeout(20_000)
            yield page
            assert not errors, errors
        finally:
            browser.close()


def picture(page, folder, name, *, whole=True):
    """Keep a screenshot of the page, as small as a page of few colours can be; all of it, or what is in sight."""
    folder = Path(os.environ.get("HANDLEREF_SCREENSHOTS") or folder)
    image = Image.open(io.BytesIO(page.screenshot(full_page=whole, animations="disabled"))).convert("RGB")
    image.quantize(128, dither=Image.Dither.NONE).save(folder / f"{name}.png", optimize=True)
    assert image.width == WIDTH and len(image.getcolors(1 << 24)) > 10, "not an empty page"
