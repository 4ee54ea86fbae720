"""Docstrings as a dataset: planted packages with known entries, and the default packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl
import pytest

from tests.support.sampling import check_apart
from wellspring import specs
from wellspring.config import SCORERS, Bm25, Config, Negatives, Pydocs, Splits
from wellspring.config.datasets import DOCUMENTED
from wellspring.datasets import lexical, pydocs
from wellspring.datasets.records import Records, Source
from wellspring.datasets.samples import Sampling, make
from wellspring.errors import SourceError

PROSE = "It says in plain words what the {} does, at some length, so that it can be told apart."

Plant = Callable[..., Path]


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plant:
    """Installs a package of planted files where nothing but the planted ones is found."""
    library = tmp_path / "lib"
    site = tmp_path / "site"
    library.mkdir()
    site.mkdir()
    monkeypatch.setattr(pydocs.sysconfig, "get_path", lambda name: str(library))
    monkeypatch.syspath_prepend(str(site))

    def install(name: str | None, version: str = "1.0", **files: str) -> Path:
        root = library if name is None else site
        written = []
        for key, text in files.items():
            path = root / f"{key.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path.relative_to(root).as_posix())
        if name is not None:
            info = site / f"{name}-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
            (info / "RECORD").write_text("".join(f"{file},,\n" for file in written))
        return root

    return install


def read(packages: Sequence[str], entries: int, seed: int = 42, skip: int = 0) -> Records:
    """Reads packages as a job does: their versions are those that are planned."""
    entry = Pydocs(format="pydocs", packages=list(packages))
    config = Config.model_construct(datasets={"pydocs": entry})
    versions = specs.texts(config, "pydocs").options["packages"]
    return read_versions(versions, entries, seed, skip)


def read_versions(
    versions: Mapping[str, str], entries: int, seed: int = 42, skip: int = 0
) -> Records:
    options = {"packages": versions, "entries": entries, "skip": skip, "seed": seed}
    return pydocs.read(Source({}, "pydocs", options))


def entries(records: Records) -> dict[str, str]:
    texts = {
        side: dict(records.texts.filter(side=side).select("text_id", "text").iter_rows())
        for side in ("query", "passage")
    }
    return {
        texts["query"][query]: texts["passage"][passage]
        for query, passage in records.judgements.select("query_id", "text_id").iter_rows()
    }


def function(noun: str, body: str = PROSE) -> str:
    return (
        f'def {noun}():\n    """Return the {noun} of a thing.\n\n    {body.format(noun)}\n    """\n'
    )


def test_what_is_skipped_is_what_a_dataset_of_that_size_keeps(plant: Plant) -> None:
    nouns = [first + second for first in ("stone", "river", "cloud") for second in "abcdefgh"]
    files = {noun: function(noun) + function(f"{noun}ing") for noun in nouns}
    plant("planted", **files)
    first, rest = read(["planted"], 10), read(["planted"], 38, skip=10)
    assert not entries(first).keys() & entries(rest).keys()
    assert len(entries(first)) + len(entries(rest)) == 48
    few = read(["planted"], 5, skip=10)
    assert len(entries(few)) == 5 and not entries(first).keys() & entries(few).keys()
    with pytest.raises(SourceError, match=r"48 docstrings .* less than entries: 39 and skip: 10"):
        read(["planted"], 39, skip=10)


def test_entries_are_summary_and_prose(plant: Plant) -> None:
    source = '''"""Summaries may run over
two lines.

This body is prose. It goes on over
several lines and stops before what is none.

Parameters
----------
x : int
    Not read, however long the text is that stands here.
"""
raise RuntimeError("a file that is read is never run")

class Outer:
    """A class that has a method.

    The class goes on about itself for a while, as all classes do, right up to this point.

    >>> Outer()
    """

    async def inner(self):
        r"""Wait for the inner thing.

        :class:`Outer` waits, and this line begins with a role, which is prose all the same.
        :param x: a field
        """
        if True:
            def deep():
                """Do something deep down.

                Deep down there is something that needs a good many more words.
                It has a heading of its own.

                Heading
                ~~~~~~~
                Not read.
                """

            def code():
                """Show how it is called.

                What follows is code, which nobody takes for prose, though it can tell a whole lot::

                    code()
                """
'''
    plant("one", one=source)
    found = entries(read(["one"], 5))
    assert found == {
        "Summaries may run over two lines.": "This body is prose. It goes on over several lines "
        "and stops before what is none.",
        "A class that has a method.": "The class goes on about itself for a while, as all "
        "classes do, right up to this point.",
        "Wait for the inner thing.": ":class:`Outer` waits, and this line begins with a role, "
        "which is prose all the same.",
        "Do something deep down.": "Deep down there is something that needs a good many more "
        "words. It has a heading of its own.",
        "Show how it is called.": "What follows is code, which nobody takes for prose, though it "
        "can tell a whole lot:",
    }


@pytest.mark.parametrize(
    "docstring",
    [
        f"Only a summary that is long: {PROSE}",
        f"Too short.\n\n{PROSE}",
        f"Return what is short.\n\n{'Few words.'}",
        f"{'A first paragraph. ' * 20}\n\n{PROSE}",
        f"An example follows here:\n\n{PROSE}",
        f"Parameters are listed below\n---------------------------\nx\n\n{PROSE}",
        f"Return nothing but code.\n\n{'a[i][j] = {1: 2, 3: 4}; ' * 9}",
        f"Return what is listed.\n\nArgs:\n    x: {PROSE}",
        f"Return what is listed.\n\n    .. note:: {PROSE}",
        f"Return what is listed.\n\n```python\n{PROSE}",
    ],
)
def test_what_is_no_entry(plant: Plant, docstring: str) -> None:
    plant("one", one=f'"""{docstring}"""\n{function("kept")}')
    assert list(entries(read(["one"], 1))) == ["Return the kept of a thing."]
    with pytest.raises(SourceError, match=r"hold 1 docstrings .* less than entries: 2"):
        read(["one"], 2)


def test_files_that_are_left_out(plant: Plant) -> None:
    plant(
        "one",
        one__kept=function("kept"),
        one__tests__kept=function("testing"),
        one___vendor__other=function("vendored"),
        one__test_kept=function("tested"),
        one__broken="def (:\n",
        one__bytes="\x00",
    )
    plant(None, library=function("library"), idlelib__gui=function("gui"))
    plant("unlocked", unlocked=function("unlocked"))
    records = read(["one"], 2)
    assert set(entries(records)) == {
        "Return the kept of a thing.",
        "Return the library of a thing.",
    }
    with pytest.raises(SourceError, match="hold 2 docstrings"):
        read(["one"], 3)


def test_repairs_are_counted(plant: Plant) -> None:
    same = function("thing")
    plant("one", one=same + function("other", PROSE.replace("{}", "thing")) + function("third"))
    plant("two", two="def (:\n")
    counts = read(["one", "two"], 2).counts
    assert counts == {
        "queries": 2,
        "passages": 2,
        "positives": 2,
        "hard_negatives": 0,
        "judgements_read": 2,
        "duplicate_entries_dropped": 1,
        "files_not_parsed": 1,
        "files_parsed": 1,
    }


def test_every_text_is_in_one_entry(plant: Plant) -> None:
    shared = function("thing")
    plant("one", one__a=shared + function("first"), one__b=shared)
    plant("two", two__copy=shared + function("second"))
    records = read(["one", "two"], 3)
    assert len(entries(records)) == 3
    assert records.judgements["text_id"].is_unique().all()
    assert records.judgements["query_id"].is_unique().all()


def test_neither_line_order_nor_spelling_matters(plant: Plant) -> None:
    names = [f"word{letter}" for letter in "abcdefgh"]
    plant("Big_Name", **{f"big__{name}": function(name) for name in names})
    plant("small", **{f"small__{name}": function(f"{name}x") for name in names})
    one = read(["Big_Name", "small"], 5)
    other = read(["small", "big-name"], 5)
    assert one.texts.equals(other.texts)
    assert one.judgements.equals(other.judgements)
    assert not one.texts.equals(read(["Big_Name", "small"], 5, 7).texts)


def test_packages_take_turns(plant: Plant) -> None:
    plant("big", **{f"big__m{n}": function(f"big{n}") for n in range(50)})
    plant("small", **{f"small__m{n}": function(f"small{n}") for n in range(5)})
    found = list(entries(read(["big", "small"], 10)))
    assert sum("small" in summary for summary in found) == 5


@pytest.mark.parametrize(
    ("name", "version", "found"), [("absent", "1.0", "none"), ("one", "2.0", "1.0")]
)
def test_a_job_finds_what_was_planned(plant: Plant, name: str, version: str, found: str) -> None:
    plant("one", one=function("kept"))
    with pytest.raises(SourceError) as caught:
        read_versions({name: version}, 1)
    assert str(caught.value) == (
        f"datasets.pydocs.packages: {name} {version} was planned, and this job finds {found}: "
        "run Snakemake and its jobs with the same packages"
    )


def test_a_build_tag_is_no_part_of_the_version(plant: Plant) -> None:
    plant("one", "1.0+cpu", one=function("kept"))
    assert len(entries(read_versions({"one": "1.0"}, 1))) == 1


def test_a_package_without_a_list_of_files(plant: Plant) -> None:
    root = plant("one", one=function("kept"))
    (root / "one-1.0.dist-info" / "RECORD").unlink()
    with pytest.raises(SourceError, match="one has no list of its files: reinstall it with pip"):
        read(["one"], 1)


@pytest.fixture(scope="module")
def own() -> Records:
    return read(DOCUMENTED, 300)


@pytest.mark.slow
def test_a_scorer_is_at_its_worst_against_its_own_negatives(own: Records) -> None:
    """Why a floor must not be the scorer that mined the negatives."""
    accuracies: dict[tuple[str, str], float] = {}
    steep = Bm25(b=0.75)
    for miner in ("bm25", "character-tfidf", "random"):
        sampling = Sampling(negatives=Negatives(mined=miner), bm25=steep)
        frame = make(own.texts, own.judgements, sampling).frame
        lists = frame.select("query_id", text_id=pl.concat_list("positive_id", "negative_ids"))
        scored = lexical.scores(own.texts, lists.explode("text_id"), bm25=steep)
        for scorer, scores in scored.items():
            found = scores.reshape(-1, 5)
            accuracies[miner, scorer] = (found[:, :1] > found[:, 1:]).mean()
    for own_scorer, other in (("bm25", "character-tfidf"), ("character-tfidf", "bm25")):
        assert accuracies[own_scorer, own_scorer] < accuracies[other, own_scorer] - 0.02
    # About 300 samples: a standard error of .03.
    assert accuracies["bm25", "character-tfidf"] > accuracies["bm25", "bm25"] + 0.06
    assert min(accuracies["random", scorer] for scorer in SCORERS) > 0.8


@pytest.mark.parametrize("miner", ["bm25", "character-tfidf", "random"])
def test_passages_of_docstrings_can_be_kept_apart(own: Records, miner: str) -> None:
    sampling = Sampling(negatives=Negatives(mined=miner), splits=Splits(passages="disjoint"))
    made = make(own.texts, own.judgements, sampling)
    check_apart(made.frame)
    # Among few passages words find nothing for some.
    assert made.counts["samples"] >= 290


def test_the_projects_own_packages(own: Records) -> None:
    records = own
    assert records.counts["positives"] == 300
    assert records.judgements["grade"].eq(1).all()
    assert records.judgements["split"].null_count() == 300
    texts = records.texts.with_columns(length=pl.col("text").str.len_chars())
    assert texts.filter(side="query")["length"].is_between(20, 300).all()
    assert texts.filter(side="passage")["length"].min() >= 80
    prose = pl.col("text").str.contains(r">>>|^Parameters|-{4}|\n|:param |  ")
    assert not texts.select(prose.any()).item()
    again = read(DOCUMENTED, 300)
    assert again.texts.equals(records.texts)
    assert again.judgements.equals(records.judgements)
