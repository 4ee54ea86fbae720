"""results/README.md says what the classes of the files say."""

from __future__ import annotations

from tests.support.paths import ROOT
from wellspring.artefacts import kinds, reference


def test_the_page_is_what_the_classes_say():
    """Else: wellspring artefacts results/README.md"""
    assert (ROOT / "results" / "README.md").read_text() == reference.page()


def test_every_kind_and_every_column_says_what_it_is():
    for kind in kinds():
        assert reference.summary(kind).endswith("."), kind
        assert kind.path() in {kind.path() for kind in kinds()}
