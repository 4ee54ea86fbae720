"""From texts and weights to the neurons that an embedding is attributed to."""


rule attribute:
    """Score the neurons of one layer for one shard of one side."""
    input:
        inputs_of(kinds.AttributionShard),
    output:
        kinds.AttributionShard.path(),
    log:
        kinds.AttributionShard.log(),
    cache: shared
    conda:
        "../../envs/wellspring.yaml"
    # Jobs run side by side: a pass's rows are few enough for one thread.
    threads: 1
    resources:
        mem_mb=2500,
        runtime=240,
        gpu=0,
        tokens=0,
    params:
        **params_of(kinds.AttributionShard),
    shell:
        "wellspring attribute {input.texts} {input.judgements} {input.model} {input.partner} {output}"
        " --threads {threads} --tokens {resources.tokens}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule activations:
    """Count the active neurons of one side, and measure how a text's scores are spread."""
    input:
        inputs_of(kinds.ActivationCounts),
    output:
        counts=kinds.ActivationCounts.path(),
        texts=kinds.ActivationTexts.path(),
        top_neurons=kinds.TopNeurons.path(),
    log:
        kinds.ActivationCounts.log(),
    cache: shared
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=counted_memory,
        runtime=120,
    params:
        **params_of(kinds.ActivationCounts),
        scores=folder_of("scores", above=1),
    shell:
        "wellspring activations {params.scores:q} {output.counts} {output.texts} {output.top_neurons}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule ablate:
    """Ablate a text's highest and lowest neurons, and random ones that match them."""
    input:
        inputs_of(kinds.Ablations),
    output:
        kinds.Ablations.path(),
    log:
        kinds.Ablations.log(),
    cache: shared
    conda:
        "../../envs/wellspring.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=0,
        tokens=0,
    params:
        **params_of(kinds.Ablations),
        scores=folder_of("scores", above=1),
    shell:
        "wellspring ablate {params.scores:q} {input.texts} {input.samples} {input.model}"
        " {input.candidates} {output} --threads {threads} --tokens {resources.tokens}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule remove:
    """Remove neurons one by one and measure what each removal does to the embedding."""
    input:
        inputs_of(kinds.Removals),
    output:
        kinds.Removals.path(),
    log:
        kinds.Removals.log(),
    cache: shared
    conda:
        "../../envs/wellspring.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=0,
        tokens=0,
    params:
        **params_of(kinds.Removals),
    shell:
        "wellspring remove {input.texts} {input.samples} {input.model} {input.candidates} {output}"
        " --threads {threads} --tokens {resources.tokens}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"
