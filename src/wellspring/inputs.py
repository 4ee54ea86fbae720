"""What the jobs of a rule read, and which code they run, for a job's wildcards: for the rules."""

from __future__ import annotations

from wellspring import fingerprint
from wellspring.config import Config


def code(config: Config, step: str, model: str) -> str:
    """The fingerprint of a step that loads a model."""
    # What the configuration defines stands in the slice, not in a module.
    name = config.models[model].architecture
    return fingerprint.code(step, None if name in config.architectures else name)


def texts_code(config: Config, dataset: str) -> str:
    """The fingerprint of reading a dataset's format."""
    return fingerprint.code("texts", config.datasets[dataset].format)


def model_code(config: Config, model: str) -> str:
    """The fingerprint of finding or making a model."""
    return code(config, "model", model)


def embed_code(config: Config, encoder: str) -> str:
    """The fingerprint of embedding."""
    return code(config, "embed", config.encoders[encoder].model)


def attribute_code(config: Config, attribution: str, encoder: str) -> str:
    """The fingerprint of attributing; other methods than the published one have their own."""
    weights = config.attributions[attribution].method == "weights"
    return code(config, "attribute" if weights else "explain", config.encoders[encoder].model)


def ablate_code(config: Config, encoder: str) -> str:
    """The fingerprint of ablating."""
    return code(config, "ablate", config.encoders[encoder].model)


def remove_code(config: Config, encoder: str) -> str:
    """The fingerprint of removing neurons."""
    return code(config, "remove", config.encoders[encoder].model)


def encoder_model(config: Config, encoder: str) -> str:
    """The description of an encoder's model."""
    return f"results/models/{config.encoders[encoder].model}/model.json"


def partner_model(config: Config, attribution: str, encoder: str) -> str:
    """The description of the model that gives the other side's vectors."""
    return encoder_model(config, config.attributions[attribution].partner(encoder))


def opposite_model(config: Config, encoder: str, dataset: str, side: str) -> str:
    """The description of the model on the other side of the study's retriever."""
    return encoder_model(config, config.removal_partners(encoder, dataset, side)[0])


def attributed_judgements(config: Config, attribution: str, dataset: str) -> str:
    """The file that tells which texts are attributed, and with which partners."""
    name = "samples" if config.attributions[attribution].target == "margin" else "qrels"
    return f"results/datasets/{dataset}/{name}.parquet"


def side_folder(
    config: Config, retriever: str, dataset: str, side: str, other: bool = False
) -> str:
    """Where a side of a retriever, or of its counterpart, is embedded."""
    return f"results/embeddings/{side_encoder(config, retriever, side, other)}/{dataset}/{side}"


def side_shards(
    config: Config, retriever: str, dataset: str, side: str, other: bool = False
) -> list[str]:
    """The shards in that folder."""
    folder = side_folder(config, retriever, dataset, side, other)
    return [
        f"{folder}/shard-{shard:03d}.parquet" for shard in range(config.datasets[dataset].shards)
    ]


def attribution_files(
    config: Config, attribution: str, encoder: str, dataset: str, side: str
) -> list[str]:
    """Every shard of one side's scores."""
    return [
        f"results/attributions/{attribution}/{encoder}/{dataset}/{side}"
        f"/layer-{layer:02d}/shard-{shard:03d}.parquet"
        for layer in config.attributed_layers(attribution, encoder, dataset)
        for shard in range(config.attributions[attribution].shards)
    ]


def agreement_files(config: Config, retriever: str, dataset: str) -> list[str]:
    """The scores of a retriever and of its counterpart, under every attribution, and what removal
    does to the retriever's embeddings."""
    names = [retriever, *filter(None, [config.attributed_pairs().get(retriever)])]
    sides = {item for name in names for item in config.retrievers[name].encoders.items()}
    own = {
        side: encoder
        for side, encoder in config.retrievers[retriever].encoders.items()
        if config.removing(encoder, dataset)
    }
    return [
        *(
            path
            for attribution in config.attributions_of(retriever, dataset)
            for side, encoder in sorted(sides)
            for path in attribution_files(config, attribution, encoder, dataset, side)
        ),
        *(f"results/removals/{encoder}/{dataset}/{side}.parquet" for side, encoder in own.items()),
    ]


def side_activations(
    config: Config, attribution: str, retriever: str, dataset: str, side: str, other: bool = False
) -> str:
    """The active neurons of a side of a retriever, or of its counterpart."""
    encoder = side_encoder(config, retriever, side, other)
    return f"results/activations/{attribution}/{encoder}/{dataset}/{side}.parquet"


def pair_names(config: Config, retriever: str) -> str:
    """A retriever and its counterpart."""
    return f"{retriever},{config.retrievers[retriever].compared_with}"


def side_encoder(config: Config, retriever: str, side: str, other: bool = False) -> str:
    """The encoder of a side of a retriever, or of its counterpart."""
    name = config.retrievers[retriever].compared_with if other else retriever
    return config.retrievers[name].encoders[side]
