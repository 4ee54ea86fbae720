"""From texts and weights to the neurons that an embedding is attributed to."""


rule attribute:
    """Score the neurons of one layer for one shard of one side."""
    input:
        texts="results/datasets/{dataset}/texts.parquet",
        judgements=of_job(inputs.attributed_judgements, "attribution", "dataset"),
        model=of_job(inputs.encoder_model, "encoder"),
        partner=of_job(inputs.partner_model, "attribution", "encoder"),
    output:
        "results/attributions/{attribution}/{encoder}/{dataset}/{side}/layer-{layer}/shard-{shard}.parquet",
    log:
        "results/logs/attribute/{attribution}/{encoder}/{dataset}/{side}/layer-{layer}/shard-{shard}.log",
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
        spec=slice_of(specs.attribute, *ATTRIBUTED, "layer", "shard"),
        code=of_job(inputs.attribute_code, "attribution", "encoder"),
    shell:
        "wellspring attribute {input.texts} {input.judgements} {input.model} {input.partner} {output}"
        " --threads {threads} --tokens {resources.tokens}"
        " --spec {params.spec:q} --code {params.code} --log {log}"


rule activations:
    """Count the active neurons of one side, and measure how a text's scores are spread."""
    input:
        of_job(inputs.attribution_files, *ATTRIBUTED),
    output:
        counts="results/activations/{attribution}/{encoder}/{dataset}/{side}.parquet",
        texts="results/activations/{attribution}/{encoder}/{dataset}/{side}.texts.parquet",
        top_neurons="results/activations/{attribution}/{encoder}/{dataset}/{side}.top_neurons.parquet",
    log:
        "results/logs/activations/{attribution}/{encoder}/{dataset}/{side}.log",
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=counted_memory,
        runtime=120,
    params:
        spec=slice_of(specs.activations, *ATTRIBUTED),
        code=fingerprint.code("activations"),
    shell:
        "wellspring activations results/attributions/{wildcards.attribution}/{wildcards.encoder}/{wildcards.dataset}/{wildcards.side} {output.counts} {output.texts} {output.top_neurons}"
        " --spec {params.spec:q} --code {params.code} --log {log}"


rule ablate:
    """Ablate a text's highest and lowest neurons, and random ones that match them."""
    input:
        scores=of_job(inputs.attribution_files, *ATTRIBUTED),
        texts="results/datasets/{dataset}/texts.parquet",
        samples="results/datasets/{dataset}/samples.parquet",
        model=of_job(inputs.encoder_model, "encoder"),
        candidates=of_job(inputs.partner_model, "attribution", "encoder"),
    output:
        "results/ablations/{attribution}/{encoder}/{dataset}/{side}.parquet",
    log:
        "results/logs/ablate/{attribution}/{encoder}/{dataset}/{side}.log",
    conda:
        "../../envs/wellspring.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=0,
        tokens=0,
    params:
        spec=slice_of(specs.ablate, *ATTRIBUTED),
        code=of_job(inputs.ablate_code, "encoder"),
    shell:
        "wellspring ablate results/attributions/{wildcards.attribution}/{wildcards.encoder}/{wildcards.dataset}/{wildcards.side} {input.texts} {input.samples} {input.model}"
        " {input.candidates} {output} --threads {threads} --tokens {resources.tokens}"
        " --spec {params.spec:q} --code {params.code} --log {log}"


rule remove:
    """Remove neurons one by one and measure what each removal does to the embedding."""
    input:
        texts="results/datasets/{dataset}/texts.parquet",
        samples="results/datasets/{dataset}/samples.parquet",
        model=of_job(inputs.encoder_model, "encoder"),
        candidates=of_job(inputs.opposite_model, "encoder", "dataset", "side"),
    output:
        "results/removals/{encoder}/{dataset}/{side}.parquet",
    log:
        "results/logs/remove/{encoder}/{dataset}/{side}.log",
    conda:
        "../../envs/wellspring.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=0,
        tokens=0,
    params:
        spec=slice_of(specs.remove, "encoder", "dataset", "side"),
        code=of_job(inputs.remove_code, "encoder"),
    shell:
        "wellspring remove {input.texts} {input.samples} {input.model} {input.candidates} {output}"
        " --threads {threads} --tokens {resources.tokens}"
        " --spec {params.spec:q} --code {params.code} --log {log}"
