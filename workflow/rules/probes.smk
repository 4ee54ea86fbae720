"""From one layer's vectors to the outcome of every test sample under every probe."""


rule probe:
    """Fit all probe kinds and seeds of one layer and passage count, on one thread."""
    input:
        inputs_of(kinds.ProbeOutcomes),
    output:
        outcomes=kinds.ProbeOutcomes.path(),
        metrics=kinds.ProbeMetrics.path(),
        curves=kinds.ProbeCurves.path(),
        codes=kinds.ProbeCodes.path(),
        sizes=kinds.ProbeSizes.path(),
    log:
        kinds.ProbeOutcomes.log(),
    cache: shared
    conda:
        "../../envs/wellspring.yaml"
    threads: 1
    resources:
        mem_mb=layer_memory,
        runtime=layer_runtime,
    params:
        **params_of(kinds.ProbeOutcomes),
        query=folder_of("query"),
        passage=folder_of("passage"),
    shell:
        "wellspring probe {input.samples} {input.lexical} {output.outcomes}"
        " --query {params.query:q} --passage {params.passage:q}"
        " --layer {wildcards.layer} --passages {wildcards.passages}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"
