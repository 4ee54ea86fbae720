"""From a source to texts, samples, qrels and lexical scores."""


rule download:
    """Fetch one file of a source that lies elsewhere, resumed where it was cut."""
    output:
        "data/downloads/{dataset}/{file}",
    log:
        "results/logs/download/{dataset}/{file}.log",
    localrule: True
    conda:
        "../../envs/wellspring.yaml"
    params:
        spec=slice_of(specs.download, "dataset", "file"),
    shell:
        "wellspring download {output} --spec {params.spec:q} --log {log}"


rule texts:
    """Read a dataset's source: every text once, and who judged what."""
    input:
        of_job(specs.source_files, "dataset"),
    output:
        texts="results/datasets/{dataset}/texts.parquet",
        judgements="results/datasets/{dataset}/judgements.parquet",
    log:
        "results/logs/texts/{dataset}.log",
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        spec=slice_of(specs.texts, "dataset"),
        code=of_job(inputs.texts_code, "dataset"),
    shell:
        "wellspring texts {output.texts} {output.judgements}"
        " --spec {params.spec:q} --code {params.code} --log {log}"


rule samples:
    """Draw hard negatives and splits; no embedding depends on them."""
    input:
        texts="results/datasets/{dataset}/texts.parquet",
        judgements="results/datasets/{dataset}/judgements.parquet",
    output:
        "results/datasets/{dataset}/samples.parquet",
    log:
        "results/logs/samples/{dataset}.log",
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        spec=slice_of(specs.samples, "dataset"),
        code=fingerprint.code("samples"),
    shell:
        "wellspring samples {input.texts} {input.judgements} {output}"
        " --spec {params.spec:q} --code {params.code} --log {log}"


rule qrels:
    """Write the judgements as qrels, with the split of each query."""
    input:
        texts="results/datasets/{dataset}/texts.parquet",
        judgements="results/datasets/{dataset}/judgements.parquet",
    output:
        "results/datasets/{dataset}/qrels.parquet",
    log:
        "results/logs/qrels/{dataset}.log",
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        spec=slice_of(specs.qrels, "dataset"),
        code=fingerprint.code("qrels"),
    shell:
        "wellspring qrels {input.texts} {input.judgements} {output}"
        " --spec {params.spec:q} --code {params.code} --log {log}"


rule lexical:
    """Score every sample's candidates by words and by pieces of words: the floor of the probes."""
    input:
        texts="results/datasets/{dataset}/texts.parquet",
        samples="results/datasets/{dataset}/samples.parquet",
    output:
        "results/datasets/{dataset}/lexical.parquet",
    log:
        "results/logs/lexical/{dataset}.log",
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        spec=slice_of(specs.lexical, "dataset"),
        code=fingerprint.code("lexical"),
    shell:
        "wellspring lexical {input.texts} {input.samples} {output}"
        " --spec {params.spec:q} --code {params.code} --log {log}"
