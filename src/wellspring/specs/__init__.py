"""The narrow slice of the configuration that each step uses, as canonical JSON.

A rule's `params.spec` is one of these and nothing else, so an edit of the configuration reruns
the steps whose slice it touches. The same text stands in an artefact's identity.
"""

from wellspring.specs.base import Side, Spec
from wellspring.specs.datasets import (
    Bm25Spec,
    DownloadSpec,
    QrelsSpec,
    SamplesSpec,
    TextsSpec,
    bm25,
    download,
    qrels,
    samples,
    source_files,
    texts,
)
from wellspring.specs.findings import (
    FindingsSpec,
    ProbeSpec,
    PublishedSpec,
    SimilaritySpec,
    findings,
    probe,
    published,
    similarity,
)
from wellspring.specs.models import (
    EmbedSpec,
    EncodingSpec,
    FetchSpec,
    ModelSpec,
    checkpoint,
    checkpoint_files,
    embed,
    encoding,
    fetch,
    model,
)

__all__ = [
    "Bm25Spec",
    "DownloadSpec",
    "EmbedSpec",
    "EncodingSpec",
    "FetchSpec",
    "FindingsSpec",
    "ModelSpec",
    "ProbeSpec",
    "PublishedSpec",
    "QrelsSpec",
    "SamplesSpec",
    "Side",
    "SimilaritySpec",
    "Spec",
    "TextsSpec",
    "bm25",
    "checkpoint",
    "checkpoint_files",
    "download",
    "embed",
    "encoding",
    "fetch",
    "findings",
    "model",
    "probe",
    "published",
    "qrels",
    "samples",
    "similarity",
    "source_files",
    "texts",
]
