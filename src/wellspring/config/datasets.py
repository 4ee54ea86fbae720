"""Entries of datasets: a class a format."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from wellspring.config.base import Bytes, Fraction, Md5, Sha256, Slug, Strict
from wellspring.config.vocabulary import (
    FactSet,
    Miner,
    Scorer,
    SplitPassages,
    SplitUnit,
    StopWords,
    Unspaced,
)
from wellspring.packages import normalised

PackageName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?$"), AfterValidator(normalised)
]
"""As `pip install` takes it; all spellings of a name are one."""

SCORERS: tuple[Scorer, ...] = get_args(Scorer)
BM25 = ("bm25", "character-bm25")
"""Those of them that are BM25."""
OF_WORDS = ("bm25", "word-tfidf")
"""Those of them that read words; the others read pieces of words."""

DOCUMENTED = """
accelerate annotated-doc annotated-types anyio argparse-dataclass attrs black bm25s captum
charset-normalizer click cloudpickle configargparse connection-pool contourpy cycler datasets
dill docutils dpath fastjsonschema filelock fonttools formulaic fsspec gitdb gitpython h11
httpcore2 httpx2 huggingface-hub humanfriendly hypothesis idna interface-meta jinja2 joblib
jsonschema jupyter-core markdown-it-py markupsafe matplotlib mpmath multiprocess narwhals
nbformat networkx numpy packaging pandas pathspec patsy peft pillow platformdirs pluggy polars
psutil pulp pyarrow pydantic pydantic-core pygments pyparsing pytest python-dateutil referencing
regex requests rich scikit-learn scipy seaborn sentence-transformers setuptools shellingham
smart-open smmap snakefmt snakemake snakemake-executor-plugin-slurm
snakemake-executor-plugin-slurm-jobstep snakemake-interface-common
snakemake-interface-executor-plugins snakemake-interface-logger-plugins
snakemake-interface-scheduler-plugins snakemake-interface-storage-plugins sortedcontainers
sqlalchemy sqlmodel statsmodels sympy tabulate tenacity threadpoolctl throttler tokenizers torch
tqdm traitlets transformers typer typing-extensions typing-inspection urllib3 wrapt yte
""".split()
"""Packages of `requirements.lock` whose docstrings are in the default dataset."""


class Negatives(Strict):
    """Which hard negatives a sample gets."""

    count: int = Field(default=4, ge=1)
    """Hard negatives a sample; fewer in the source are oversampled, none drops the sample."""
    mined: Miner | None = None
    """Mine them where the source has none, or where its own are not wanted: the passages that a
    lexical scorer ranks first, or `random` passages of the corpus."""
    depth: int = Field(default=20, ge=1)
    """Mined negatives are drawn from the first `depth` passages that the scorer finds; `random`
    draws so many passages for each query."""
    seed: int = 42
    """Seed of the draw."""

    @model_validator(mode="after")
    def _deep_enough(self) -> Negatives:
        if self.mined and self.depth < self.count:
            raise ValueError(f"depth {self.depth} is less than count {self.count}")
        return self


class Splits(Strict):
    """Training, validation and test samples. One rule for all formats: splits that the source
    publishes are kept where a train split is among them, and what is not published is taken from
    train (dev is the test split where there is no test). Without a train split, as where a folder
    has the judgements of test alone, all samples are split anew, and the terminal says so."""

    by: SplitUnit = "query"
    """`query`: no query on two sides. `sample`: the published way, which leaks queries."""
    test: Fraction = 0.2
    """A share of the queries, or samples."""
    validation: Fraction = 0.12
    """A share of what is not test."""
    seed: int = 42
    """Seed of the split."""
    passages: SplitPassages = "shared"
    """`shared`: a passage may be a candidate in two splits. `disjoint`: queries that share a
    positive fall into one split, and a sample's negatives come from the passages of its split.
    Mined among fewer passages they are easier, the more so the smaller the split."""

    @model_validator(mode="after")
    def _whole_queries(self) -> Splits:
        if self.passages == "disjoint" and self.by == "sample":
            raise ValueError("passages: disjoint needs by: query")
        return self


class ProbedSplits(Splits):
    """The same, and what the seeds of the probes do with it."""

    redrawn: bool = True
    """Each seed of the probes after the first draws its own split of the samples whose split the
    source does not publish; false: one split for all seeds, as `passages: disjoint` needs."""

    @model_validator(mode="after")
    def _one_split(self) -> ProbedSplits:
        if self.passages == "disjoint" and self.redrawn:
            raise ValueError(
                "passages: disjoint needs redrawn: false, because negatives belong to one split"
            )
        return self


class Bm25(Strict):
    """Settings of BM25, over words and over characters."""

    k1: float = Field(default=0.9, gt=0)
    """How fast further repetitions of a word lose weight; a low k1: at once."""
    b: float = Field(default=0.4, ge=0, le=1)
    """How much length is held against a passage: a low b prefers long ones."""


class _Dataset(Strict):
    negatives: Negatives = Negatives()
    """Which hard negatives a sample gets."""
    splits: ProbedSplits = ProbedSplits()
    """How samples are split, where the source publishes no splits, or no train split."""
    bm25: Bm25 = Bm25()
    """Settings of BM25, which mines negatives and serves as a control."""
    lexical: list[Scorer] = Field(default=list(SCORERS), min_length=1)
    """The lexical scorers that serve as controls; the probe `lexical` is the best of them. `bm25`
    and `word-tfidf` read words; in scripts that write no spaces between them (Han, kana, Thai, Lao,
    Khmer, Burmese) and in Hangul these are what `unspaced` says. The others read pieces of
    words."""
    stop_words: StopWords = "english"
    """Words that `bm25` and `word-tfidf` leave out: Lucene's 33 English ones (a, an, and, are,
    as, at, be, but, by, for, if, in, into, is, it, no, not, of, on, or, such, that, the, their,
    then, there, these, they, this, to, was, will, with), or none."""
    unspaced: Unspaced = "pairs"
    """What `bm25` and `word-tfidf` take for words in scripts that write no spaces between them:
    pairs of neighbouring characters, or whole runs as between spaces."""
    shards: int = Field(default=1, ge=1, le=1000)
    """Pieces in which a side is embedded, one job each."""


class _FileDataset(_Dataset):
    source: str | dict[Slug, str]
    """A path (relative to the file that names it) or an http(s) address, or one for each
    published split (train, dev, validation, test); see `splits` for which of them are kept."""
    sha256: Sha256 | dict[Slug, Sha256] | None = None
    """Checked before reading, where given: of the one file, or of files by their split."""
    md5: Md5 | dict[Slug, Md5] | None = None
    """The same, for sources that publish no sha256."""
    size: Bytes | dict[Slug, Bytes] | None = None
    """Size in bytes of what is fetched, or of each split: checked before it is."""
    mirrors: list[str] | dict[Slug, list[str]] | None = None
    """Other http(s) addresses of the same file, tried in turn. They need sha256 or md5."""


class _LimitedDataset(_FileDataset):
    max_negatives: int | None = Field(default=None, ge=1)
    """Keep this many hard negatives per query, chosen by hash: what is kept is what is embedded."""


class Pydocs(_Dataset):
    """Docstrings of the standard library and of installed packages: summary line, body."""

    format: Literal["pydocs"]
    """How the source is read."""
    unspaced: Unspaced = "runs"
    """Of 4,000 docstrings three are Chinese: they change no number this way."""
    entries: int = Field(default=4000, ge=10)
    """How many docstrings are kept, chosen by hash."""
    skip: int = Field(default=0, ge=0)
    """Docstrings that are left out before: those of a dataset that has so many `entries`, and the
    same seed and packages. So a model can learn from others than it is tested on."""
    seed: int = 42
    """Seed of that choice."""
    packages: list[PackageName] = Field(default_factory=lambda: list(DOCUMENTED))
    """Packages that are read beside the standard library, by default those of `requirements.lock`
    whose docstrings can be used. Another version of one of them, or of Python, gives another
    dataset."""


class Facts(_Dataset):
    """Facts about invented people: a question names one, and the passage that answers it shares no
    word with the question. docs/new-knowledge.md says what for."""

    format: Literal["facts"]
    """How the source is read."""
    set: FactSet
    """What the dataset holds: `statements` that tell the facts; questions to train on, about
    `practice` people alone or about `taught` people, too; the others are tests. They have one
    question about each taught person, and the practice questions as training split."""
    seed: int = 0
    """Of the world, which datasets with one seed have in common."""
    practice: int = Field(default=144, ge=20)
    """People of whom all is told and asked."""
    taught: int = Field(default=288, ge=10)
    """People whose facts are tested. In multiples of 72 all values are equally frequent in every
    test."""
    shuffled: bool = False
    """Statements and training questions give taught people the values of others: a control that
    learns as much, and nothing true of them. Tests do not change."""


class Jsonl(_LimitedDataset):
    """Lines of `{"query": str, "pos": [str], "neg": [str]}`, and optionally `"paraphrases": [str]`,
    other wordings of the query, of which attributions may take one."""

    format: Literal["jsonl"]
    """How the source is read."""


Inside = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][\w.-]*(/[A-Za-z0-9_-][\w.-]*)*$")]
"""A file or folder below a folder."""


class _Judged(_Dataset):
    """Queries, passages and judgements that name their ids."""

    judged_only: bool = False
    """Keep only the passages that some query judges."""
    positive_from: int = Field(default=1, ge=1)
    """The lowest grade of a positive. A passage that was judged with a lower grade is a hard
    negative of the query."""
    lost_judgements: float = Field(default=0.01, ge=0, le=1)
    """Refuse the collection when a larger share of its judgements names queries or passages that it
    does not hold."""


class _Collection(_FileDataset, _Judged):
    """A folder, an archive of it, or files by themselves."""

    source: str | dict[Slug, str]
    """A folder, or an archive of it (.zip, .tar, .tar.gz, .tgz) here or at an http(s) address, read
    as it is; or a path or address for each file."""
    inside: Inside | None = None
    """The folder in the archive, where it holds several collections."""


class Beir(_Collection):
    """corpus.jsonl, queries.jsonl and qrels/*.tsv, a file for each split; by themselves `corpus`,
    `queries`, and `qrels` or splits."""

    format: Literal["beir"]
    """How the source is read."""
    qrels: Annotated[list[Slug], Field(min_length=1)] | None = None
    """The splits whose judgements are read, by default all."""


class Trec(_Collection):
    """The files of a test collection, as TREC has them; by themselves `documents`, `topics`, and
    `qrels` or splits.

    Documents and topics are JSON lines, TSV (id, text; of documents also id, title, text) or SMART
    (`.I`, `.T`, `.W`); topics may also be in TREC's own marks (`<top>`, `<num>`, `<title>`). What a
    file is shows in its first line. Qrels have four fields: topic, iteration, document, grade."""

    format: Literal["trec"]
    """How the source is read."""
    documents: Inside = "documents.jsonl"
    """The file of the documents, in the folder or archive."""
    topics: Inside = "topics.tsv"
    """The file of the topics, in the folder or archive."""
    qrels: Inside | dict[Slug, Inside] = "qrels.txt"
    """The file of the judgements, in the folder or archive, or one for each published split."""


class IrDatasets(_Judged):
    """A collection of the package ir_datasets, which fetches it: an optional dependency."""

    format: Literal["ir_datasets"]
    """How the source is read."""
    id: Annotated[str, Field(pattern=r"^[a-z0-9][\w.-]*(/[\w.-]+)*$")]
    """Its name there, with documents, queries and judgements: `beir/scifact/test`."""

    @property
    def source(self) -> str:
        """What is fetched."""
        return f"irds:{self.id}"


class Dpr(_LimitedDataset):
    """DPR's JSON (positive_ctxs, hard_negative_ctxs), plain or gzip."""

    format: Literal["dpr"]
    """How the source is read."""


class Tevatron(_LimitedDataset):
    """Tevatron's JSON lines (query, positive_passages, negative_passages)."""

    format: Literal["tevatron"]
    """How the source is read."""


class Squad(_LimitedDataset):
    """SQuAD's JSON: a question's paragraph among the others of its article. For two languages:
    `source: {passages: …, questions: …}`."""

    format: Literal["squad"]
    """How the source is read."""
    passage_words: int | None = Field(default=None, ge=10)
    """Cut paragraphs into passages of at most so many words."""


class Pubmedqa(_FileDataset):
    """PubMedQA's JSON: a question and the abstract that answers it."""

    format: Literal["pubmedqa"]
    """How the source is read."""
    passage: Literal["contexts", "long-answer", "long-answer-among-contexts"] = "contexts"
    """What is a question's passage: the abstract without its conclusion, or the conclusion. The
    third has the abstracts as passages, too, and a question's own is its hard negative."""


class Scienceqa(_LimitedDataset):
    """ScienceQA's JSON, or its Parquet: the questions that need no picture."""

    format: Literal["scienceqa"]
    """How the source is read."""
    passage: Literal["lecture", "option"] = "lecture"
    """What is a question's passage: the lecture that teaches what it asks for, or its right option
    among the options of all questions, of which its own wrong ones are hard negatives."""


class Hotpotqa(_FileDataset):
    """HotpotQA's JSON: supporting paragraphs among distractors."""

    format: Literal["hotpotqa"]
    """How the source is read."""


class Selqa(_FileDataset):
    """SelQA's JSON: sentences that answer a question among the others of their section."""

    format: Literal["selqa"]
    """How the source is read."""


class Msmarco(_LimitedDataset):
    """MS MARCO's question answering release (v1.1) as Parquet: selected passages among others."""

    format: Literal["msmarco"]
    """How the source is read."""


Named = str | Annotated[list[str], Field(min_length=1)]


class Columns(Strict):
    """Which columns of a table hold what; a dotted name reaches into structures. Several names, as
    `[passages.title, passages.text]`, stand for their texts, joined by a space."""

    query: Named
    """A text."""
    positives: Named
    """A text or a list of texts."""
    negatives: Named | None = None
    """A text or a list of texts."""


class Table(_LimitedDataset):
    """Any table: Parquet, JSON (lines or an array), CSV, TSV, or a dataset of the hub."""

    format: Literal["table"]
    """How the source is read."""
    source: str | dict[Slug, str]
    """As of other files, or `hub:ID@REVISION`, of which the split of the same name is fetched
    (`train`, where the source is not by split)."""
    subset: str | None = None
    """The configuration of a hub dataset that has several."""
    columns: Columns
    """Which columns hold queries and passages."""


Dataset = Annotated[
    Pydocs
    | Jsonl
    | Beir
    | Trec
    | IrDatasets
    | Dpr
    | Tevatron
    | Squad
    | Pubmedqa
    | Scienceqa
    | Hotpotqa
    | Selqa
    | Msmarco
    | Table
    | Facts,
    Field(discriminator="format"),
]
FORMATS = tuple(
    get_args(kind.model_fields["format"].annotation)[0] for kind in get_args(get_args(Dataset)[0])
)
"""How sources are read: each is a module under `wellspring.datasets`."""
