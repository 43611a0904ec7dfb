"""Looks at the page in a real Chromium and writes down what a person would see.

`python browser.py URL FOLDER [dark]`: until a file `stop` is in the folder, each change of what is
steered is a line of `seen`, with a screenshot, and what axe-core finds wrong with the page.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

_LOOK = """() => ({
  title: document.title,
  word: document.querySelector('[data-k="word"]').textContent,
  alarms: document.querySelectorAll('.alarm').length,
  now: [...document.querySelectorAll('[data-k$="/now"]')].map((one) => one.textContent),
  time: document.querySelector('[data-k="time"]').dateTime,
})"""
_NOTE = """() => {
  window.words = [];
  new MutationObserver(() => {
    const word = document.querySelector('[data-k="word"]')?.textContent;
    const before = window.words.at(-1)?.word;
    if (word && word !== before) window.words.push({word, at: Date.now() / 1000});
  }).observe(document.documentElement, {subtree: true, childList: true, characterData: true});
}"""
"""Notes when the page says something else: a screenshot takes its time."""
_PAINT = (
    """() => performance.getEntriesByName('first-contentful-paint').map((one) => one.startTime)"""
)


def watch(page: Page, url: str, folder: Path) -> None:
    """Watch until told to stop."""
    errors: list[str] = []
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    page.evaluate(_NOTE)
    page.wait_for_timeout(500)
    seen, number, before = folder / "seen", 0, None
    while not (folder / "stop").exists():
        now = page.evaluate(_LOOK)
        key = now["word"], now["now"], now["alarms"]
        if key != before:
            before, number = key, number + 1
            found = Axe().run(page).response["violations"]
            page.screenshot(path=folder / f"page-{number}.png", full_page=True)
            line = {
                **now,
                "words": page.evaluate("() => window.words"),
                "axe": [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found],
                "errors": errors,
                "paint": page.evaluate(_PAINT),
            }
            with seen.open("a") as file:
                file.write(json.dumps(line) + "\n")
        page.wait_for_timeout(100)
    (folder / "over").touch()


def main() -> None:
    """Watch by the words of the command line."""
    url, folder = sys.argv[1], Path(sys.argv[2])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        dark = sys.argv[3:] == ["dark"]
        page = browser.new_page(color_scheme="dark" if dark else "light")
        watch(page, url, folder)
        browser.close()


if __name__ == "__main__":
    main()
