"""From one layer's vectors to the outcome of every test sample under every probe."""


rule probe:
    """Fit all probe kinds and seeds of one layer and passage count, on one thread."""
    input:
        samples="results/datasets/{dataset}/samples.parquet",
        lexical="results/datasets/{dataset}/lexical.parquet",
        query=of_job(inputs.side_shards, "retriever", "dataset", side="query"),
        passage=of_job(inputs.side_shards, "retriever", "dataset", side="passage"),
    output:
        outcomes="results/probes/{retriever}/{dataset}/layer-{layer}/passages-{passages}.parquet",
        metrics="results/probes/{retriever}/{dataset}/layer-{layer}/passages-{passages}.metrics.parquet",
        curves="results/probes/{retriever}/{dataset}/layer-{layer}/passages-{passages}.curves.parquet",
        codes="results/probes/{retriever}/{dataset}/layer-{layer}/passages-{passages}.codes.parquet",
        sizes="results/probes/{retriever}/{dataset}/layer-{layer}/passages-{passages}.sizes.parquet",
    log:
        "results/logs/probe/{retriever}/{dataset}/layer-{layer}/passages-{passages}.log",
    conda:
        "../../envs/wellspring.yaml"
    threads: 1
    resources:
        mem_mb=layer_memory,
        runtime=layer_runtime,
    params:
        spec=slice_of(specs.probe, "retriever", "dataset"),
        code=fingerprint.code("probe"),
        query=of_job(inputs.side_folder, "retriever", "dataset", side="query"),
        passage=of_job(inputs.side_folder, "retriever", "dataset", side="passage"),
    shell:
        "wellspring probe {input.samples} {input.lexical} {output.outcomes}"
        " --query {params.query:q} --passage {params.passage:q}"
        " --layer {wildcards.layer} --passages {wildcards.passages}"
        " --spec {params.spec:q} --code {params.code} --log {log}"
