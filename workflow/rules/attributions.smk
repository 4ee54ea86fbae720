"""From texts and weights to the neurons that an embedding is attributed to."""

for batch in batches_of(kinds.AttributionShard):

    rule:
        """Score the neurons of some layers for one shard of one side."""
        name:
            batch.name
        input:
            inputs_of(batch),
        output:
            **files_of(batch),
        log:
            batch.log(),
        wildcard_constraints:
            **batch.constraints(),
        cache: shared
        conda:
            "../../envs/wellspring.yaml"
        # Jobs run side by side: a pass's rows are few enough for one thread.
        threads: 1
        resources:
            **ON_GPU,
            mem_mb=growing(model_memory),
            runtime=growing(240, len(batch.values)),
            tokens=0,
        params:
            **params_of(batch),
        shell:
            "wellspring attribute {input.texts} {input.judgements} {input.model} {input.partner}"
            " {params.files} --threads {threads} --tokens {resources.tokens}"
            " --spec {params.spec:q} --code {params.code} --log {log}"


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
        mem_mb=growing(counted_memory),
        runtime=growing(120),
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
        **ON_GPU,
        mem_mb=growing(ablation_memory),
        runtime=growing(240),
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
        **ON_GPU,
        mem_mb=growing(ablation_memory),
        runtime=growing(240),
        tokens=0,
    params:
        **params_of(kinds.Removals),
    shell:
        "wellspring remove {input.texts} {input.samples} {input.model} {input.candidates} {output}"
        " --threads {threads} --tokens {resources.tokens}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"
