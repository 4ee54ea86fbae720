"""From a model and a recipe to a trained model."""


rule teach:
    """Let a teacher judge a dataset's samples, for training that follows it."""
    input:
        inputs_of(kinds.TeacherScores),
    output:
        kinds.TeacherScores.path(),
    log:
        kinds.TeacherScores.log(),
    conda:
        "../../envs/wellspring.yaml"
    threads: kinds.TeacherScores.threads
    resources:
        **ON_GPU,
        mem_mb=growing(judging_memory),
        runtime=growing(720),
        tokens=0,
    params:
        **params_of(kinds.TeacherScores),
        query=option_of("query", folder=True),
        passage=option_of("passage", folder=True),
        checkpoint=option_of("checkpoint", folder=True),
        scores=option_of("scores"),
    shell:
        "wellspring teach {input.texts} {input.samples} {output}"
        " {params.query} {params.passage} {params.checkpoint} {params.scores}"
        " --threads {threads} --tokens {resources.tokens}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


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
        # 1: event files beside the log.
        tensorboard=0,
    params:
        **params_of(kinds.TrainedModel),
        texts=option_of("texts"),
        samples=option_of("samples"),
        teacher=option_of("teacher"),
    shell:
        "wellspring train {input.base} {output.trained} {output.curve} {params.texts} {params.samples}"
        " {params.teacher}"
        " --threads {threads} --tokens {resources.tokens} --tensorboard {resources.tensorboard}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"
