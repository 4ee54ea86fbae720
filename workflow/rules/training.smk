"""From a model and a recipe to a trained model."""


rule train:
    """Train a model by its recipe; trained.json is written last, beside the checkpoint."""
    input:
        inputs_of(kinds.TrainedModel),
    output:
        trained=kinds.TrainedModel.path(),
        curve=kinds.LearningCurve.path(),
    log:
        kinds.TrainedModel.log(),
    conda:
        "../../envs/wellspring.yaml"
    threads: kinds.TrainedModel.threads
    resources:
        **ON_GPU,
        mem_mb=growing(training_memory),
        runtime=growing(1440),
        tokens=0,
    params:
        texts=option_of("texts"),
        samples=option_of("samples"),
        **params_of(kinds.TrainedModel),
    shell:
        "wellspring train {input.base} {output.trained} {output.curve} {params.texts} {params.samples}"
        " --threads {threads} --tokens {resources.tokens}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"
