"""The page in a browser: every control, both themes, three widths, no request, nothing broken."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Iterator
from itertools import product

import pytest

WIDTHS = (360, 768, 1280)
THEMES = ("light", "dark")
ENDS = ((360, "dark"), (1280, "light"))
SERIOUS = {"serious", "critical"}
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
LAYERS = "rows => rows.map(row => row.dataset.layer)"


@pytest.fixture(scope="module")
def browser() -> Iterator:
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        pytest.skip("no Chromium is installed")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        # Chromium needs --no-sandbox where root runs it, as in containers.
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(finished) -> str:
    return (finished.folder / "results/studies/small/index.html").resolve().as_uri()


@pytest.fixture
def opened(browser, address):
    """Opens the page in a window of a width; after the test, nothing may have gone wrong."""
    wrong: list[str] = []
    contexts = []

    def told(said) -> None:
        if said.type == "error":
            wrong.append(said.text)

    def asked(request) -> None:
        if request.url != address:
            wrong.append(f"asks for {request.url}")

    def open_(width: int = 1280, theme: str = "light"):
        size = {"width": width, "height": 900}
        contexts.append(browser.new_context(viewport=size, color_scheme=theme))
        page = contexts[-1].new_page()
        page.on("console", told)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", asked)
        started = time.perf_counter()
        page.goto(address)
        sys.stdout.write(f"opened in {time.perf_counter() - started:.2f} s\n")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not wrong


def drawn(page) -> list:
    """The panels, after each has drawn its chart."""
    panels = page.locator(".panel").all()
    for panel in panels:
        panel.scroll_into_view_if_needed()
        panel.locator(".chart svg").first.wait_for(timeout=60_000)
    page.wait_for_function("document.querySelectorAll('.panel:not([data-ready])').length === 0")
    return panels


def decoded(data: dict) -> list[dict]:
    """The rows of a panel's data."""
    columns = {
        name: [column["values"][code] for code in column["codes"]]
        if "codes" in column
        else column["values"]
        for name, column in data["columns"].items()
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def text_of(value: object) -> str:
    """As JavaScript writes a value."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def test_it_holds_what_the_study_found(opened):
    page = opened()
    text = page.inner_text("main")
    assert "Where does the knowledge of tiny come from?" in text
    assert re.search(r"ranked first in a share of \d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]", text)
    assert "fresh (its counterpart)" in text
    titles = page.locator("main h2").all_inner_texts()
    assert titles[:2] == ["The answer", "What was studied"]
    assert titles[-2:] == ["Texts", "Where every number comes from"]
    for link in page.locator("nav a").all():
        assert page.locator(link.get_attribute("href")).count() == 1


def test_every_link_leads_to_a_file(opened, finished):
    page = opened()
    links = page.locator(".source dt a").evaluate_all("all => all.map(each => each.href)")
    assert len(links) > 5
    results = (finished.folder / "results").resolve().as_uri()
    for link in set(links):
        assert link.startswith(results)
        assert (finished.folder / "results" / link.removeprefix(f"{results}/")).is_file(), link


def test_every_choice_sets_its_chart_and_its_table(opened):
    page = opened()
    panels = drawn(page)
    assert panels
    for panel in panels:
        anchor = panel.get_attribute("id")
        rows = decoded(json.loads(panel.locator("script.data").inner_text())["data"])
        for select in panel.locator("select").all():
            column = select.get_attribute("data-column")
            options = select.evaluate("each => [...each.options].map(option => option.value)")
            for option in [*options[1:], options[0]]:
                select.select_option(option)
                page.wait_for_function(
                    "([id, name, value]) => String(wellspring.views[id].signal(name)) === value",
                    arg=[anchor, column, option],
                )
                chosen = panel.evaluate(
                    "each => [...each.querySelectorAll('.controls [data-column]')]"
                    ".map(one => [one.dataset.column, one.value ?? one.dataset.fixed])"
                )
                kept = sum(all(text_of(row[name]) == to for name, to in chosen) for row in rows)
                said = panel.locator(".count").text_content()
                rows_ = "1 row" if kept == 1 else f"{kept} rows" if kept else "no rows"
                assert said.startswith(rows_), (anchor, chosen)
                assert panel.locator("tbody tr").count() == min(kept, 300)


def test_the_choices_above_the_table_hide_its_other_rows(opened):
    page = opened()
    visible = page.locator("#summary tbody tr:visible")
    whole = page.locator("#summary tbody tr").count()
    assert set(visible.evaluate_all(LAYERS)) == {"2", "any"}
    page.select_option("#filter-retriever", "")
    page.select_option("#filter-layer", "")
    assert visible.count() == whole
    page.select_option("#filter-layer", "0")
    page.select_option("#filter-probe", "concat")
    assert 0 < visible.count() < whole
    assert set(visible.evaluate_all(LAYERS)) == {"0"}
    assert page.inner_text("#filter-count") == f"{visible.count()} of {whole} rows"


def test_the_theme_follows_the_system_until_a_reader_chooses(opened):
    page = opened(theme="dark")
    theme = "document.documentElement.dataset.theme"
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(theme) == "dark"
    dark = page.evaluate(ground)
    page.click("#theme")
    assert page.evaluate(theme) == "light" and page.evaluate(ground) != dark
    assert page.get_attribute("#theme", "aria-pressed") == "false"
    page.emulate_media(color_scheme="light")
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(theme) == "light"
    page.reload()
    assert page.evaluate(theme) == "light"


def test_the_keyboard_reaches_the_answer_first(opened):
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"


@pytest.mark.parametrize(
    ("width", "theme"),
    [
        # The two ends are looked at in every run.
        pytest.param(*each, marks=() if each in ENDS else pytest.mark.slow)
        for each in product(WIDTHS, THEMES)
    ],
)
def test_nothing_is_out_of_reach(opened, width, theme):
    """No sideways scrolling of the page, and nothing serious that axe-core finds."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(width, theme)
    drawn(page)
    scrolled, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert scrolled <= inner
    page.locator("details.source").evaluate_all(
        "all => all.slice(0, 3).forEach(e => e.open = true)"
    )
    found = axe.run(page).response["violations"]
    serious = [
        (each["id"], [node["html"][:200] for node in each["nodes"][:3]])
        for each in found
        if each["impact"] in SERIOUS
    ]
    assert not serious
