"""The command that tells whether configuration files can be used."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.paths import ROOT
from wellspring.cli import cli


def check(*overlays: Path):
    words = ["check", *map(str, overlays), "--config", str(ROOT / "config.yaml")]
    return CliRunner().invoke(cli, words)


def test_overlays_are_joined_in_order(tmp_path: Path) -> None:
    done = check()
    assert done.exit_code == 0
    assert done.output == (
        "The study 'default' can be computed.\n"
        "probed: retrievers minilm-tuned, minilm, minilm-random; datasets pydocs; passages 2, 5\n"
        "searched: nothing\n"
        "attributed: attributions norm; retrievers minilm-tuned, minilm, minilm-random; "
        "datasets pydocs\n"
    )
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    one.write_text("study: {name: one, probe: {passages: [3]}}")
    other.write_text("study: {name: other}")
    assert "The study 'other' can be computed" in check(one, other).output
    assert "passages 3\n" in check(one, other).output
    other.write_text("retrievers: {spare: {query: minilm}}")
    assert "Note: the study 'default' does not use retrievers.spare" in check(other).output
    other.write_text("study: {name: other, attribute: null}")
    assert check(other).output.endswith("\nattributed: nothing\n")


def test_a_revision_that_may_move_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    for revision, noted in (("main", True), ("0" * 40, False)):
        source = f"hub:group/encoder@{revision}"
        model = f"{{source: '{source}', architecture: bert, layers: 6}}"
        path.write_text(
            f"retrievers: {{mine: {{query: {{model: {model}, pooling: mean}}}}}}\n"
            "study: {name: mine, probe: {retrievers: [mine]}, attribute: null}\n"
        )
        done = check(path)
        assert done.exit_code == 0
        note = f"Note: models.mine.source: {source} names a branch or a tag"
        assert (note in done.output) is noted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("study:\n\tname: x\n", "{}:2: the line is indented with a tab: use spaces"),
        ("study:\n  name: x\n   probe: {}\n", "{}:3: not valid YAML: mapping values are not"),
        ("study: {name: x}\nstudy: {name: y}\n", "{}:2: the key 'study' stands in line 1 alre"),
        ("", "{}: is empty: write a key into it"),
        ("# nothing", "{}: is empty: write a key into it"),
        ("study: {name: no}", "study.name: must be text, and YAML reads this as False"),
        ("study: {probe: {layers: [9]}}", "study.probe.layers: 9 is beyond 'minilm-tuned'"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    done = check(path)
    assert done.exit_code != 0
    assert str(done.exception).splitlines()[0].startswith(message.format(path))
