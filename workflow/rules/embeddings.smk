"""From texts and weights to vectors at every layer."""


rule embed:
    """Embed one shard of one side at every layer, from one forward pass a text."""
    input:
        texts="results/datasets/{dataset}/texts.parquet",
        model=of_job(inputs.encoder_model, "encoder"),
    output:
        "results/embeddings/{encoder}/{dataset}/{side}/shard-{shard}.parquet",
    log:
        "results/logs/embed/{encoder}/{dataset}/{side}/shard-{shard}.log",
    conda:
        "../../envs/wellspring.yaml"
    threads: 8
    resources:
        mem_mb=2500,
        runtime=240,
        gpu=0,
        tokens=0,
    params:
        spec=slice_of(specs.embed, "encoder", "dataset", "side", "shard"),
        code=of_job(inputs.embed_code, "encoder"),
    shell:
        "wellspring embed {input.texts} {input.model} {output}"
        " --threads {threads} --tokens {resources.tokens}"
        " --spec {params.spec:q} --code {params.code} --log {log}"
