"""Memory, time and GPUs of jobs, by the size of their models and inputs."""

from functools import cache
from pathlib import Path


@cache
def megabytes(*paths):
    """MB of files that many jobs read; an error, which Snakemake expects, where one is missing."""
    return sum(Path(path).stat().st_size for path in paths) / 1e6


def asked(amount, wildcards, input):
    """What a function of a job gives. Where a file is missing, Snakemake asks again once the job's
    input is there: it may be one that is not fetched yet, which the input is made from."""
    try:
        return amount(wildcards, input)
    except FileNotFoundError as error:
        raise FileNotFoundError(error.errno, error.strerror, input[0]) from None


def growing(amount, files=1):
    """An amount, or what a function of a job gives, for each of so many files, times the attempt: a
    retried job gets more."""

    def resource(wildcards, input, attempt):
        each = asked(amount, wildcards, input) if callable(amount) else amount
        return attempt * files * each

    return resource


def layer_memory(wildcards, input):
    """MB for a job that works on one layer of its shards, which hold all of them."""
    return one_layer(wildcards.retriever, input)


def one_layer(retriever, input):
    """MB for one layer of a retriever's shards."""
    return 1500 + int(8 * megabytes(*input) / (study.depth(retriever) + 1))


def layer_runtime(wildcards, input):
    """Minutes for the same."""
    return 60 + int(megabytes(*input) / (study.depth(wildcards.retriever) + 1) / 10)


def counted_memory(wildcards, input):
    """MB for counting: the measures of every text take a part of what its scores take."""
    return 4000 + int(megabytes(*input) / 2)


GPU_WEIGHTS = 200
"""MB of weights from which a job asks for a GPU: the six layers of MiniLM have 90, BERT-base 440."""


@cache
def bytes_of(model):
    """Bytes of a model's weights, known before the model is described."""
    return model.weights(study)


def weights(wildcards, input):
    """MB of the weights that a job loads, each model's once."""
    models = {
        model for path in input if (model := kinds.Model.find(path) or kinds.Checkpoint.find(path))
    }
    here = [path for path in input if path.endswith(".safetensors")]
    return sum(map(bytes_of, models)) / 1e6 + megabytes(*here)


def model_memory(wildcards, input):
    """MB for a job that loads models: as float32 they may take twice their files' size."""
    return 2500 + int(3 * weights(wildcards, input))


def scan_memory(wildcards, input):
    """MB for the same with the best passages of all queries at every layer, as a search."""
    return 5500 + model_memory(wildcards, input)


def ablation_memory(wildcards, input):
    """MB for the same with texts run again and again, and the samples' other vectors."""
    return 1500 + model_memory(wildcards, input)


def judging_memory(wildcards, input):
    """MB for a teacher: a layer of a retriever's vectors, or a network with all texts and pairs."""
    if wildcards.teacher in study.retrievers:
        return one_layer(wildcards.teacher, input)
    return model_memory(wildcards, input) + int(10 * megabytes(*input.texts, *input.samples))


def training_memory(wildcards, input):
    """MB for training: gradients and two moments of every weight, activations, and all texts; and
    for a batch of sparse vectors over a vocabulary of 128,000 words."""
    model = study.models[wildcards.model]
    recipe, base = study.recipes[model.recipe], bytes_of(kinds.Model(model.reference))
    words = 2.5 * recipe.batch * (2 + recipe.negatives) if recipe.paradigm == "sparse" else 0
    return 4000 + int(8 * base / 1e6 + 10 * megabytes(*input) + words)


def described_memory(wildcards, input):
    """MB for describing a model, or for drawing a fresh one; all texts, where it learns to split
    them."""
    own = bytes_of(kinds.Model.of(wildcards)) / 1e6
    return 2500 + int(3 * own + 10 * megabytes(*input.texts, *input.samples))


def gpus(wildcards, input):
    """How many GPUs a job asks for. `--resources gpu=N` says how many there are."""
    return int(asked(weights, wildcards, input) >= GPU_WEIGHTS)


def site(name):
    """What the profile's default-resources say; None: nothing."""
    value = (workflow.resource_settings.default_resources or {}).get(name)
    return getattr(value, "raw", value)


def gpu_model(wildcards, input):
    """Slurm's name of the cards, where a job asks for one."""
    return site("gpu_type") if gpus(wildcards, input) else None


def gpu_partition(wildcards, input):
    """Where a job runs: cards may lie in a partition of their own."""
    own = site("gpu_partition") if gpus(wildcards, input) else None
    return own or site("slurm_partition")


ON_GPU = {"gpu": gpus, "gpu_model": gpu_model, "slurm_partition": gpu_partition}
