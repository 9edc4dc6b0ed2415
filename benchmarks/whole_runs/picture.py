"""Take the picture of a report that the README shows: the answer, every family, where the ensemble erred and looked."""

import argparse
import shutil
from pathlib import Path

WIDTH, LEAST_HEIGHT = 1280, 600  # pixels
PARTS = """() => {
  const next = selector => document.querySelector(selector);
  const mistakes = next("#mistakes"), list = next("#mistakes ~ ul");
  const parts = [next("#answer"), next("#leaderboard .figures"), mistakes, list].filter(part => part);
  next("main").replaceChildren(...parts);
  document.querySelectorAll("nav, footer, a").forEach(part => part.remove());
}"""


def take(report: Path, target: Path) -> None:
    """Write a PNG file of the parts of a ``report.html`` that tell it at a glance."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": LEAST_HEIGHT}, color_scheme="light")
        page.goto(report.absolute().as_uri())
        page.evaluate(PARTS)
        page.screenshot(path=target, full_page=True)
        browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="a report.html; needs the extra browser, and Chromium")
    parser.add_argument("target", type=Path, nargs="?", default=Path("docs/report.png"))
    given = parser.parse_args()
    take(given.report, given.target)
