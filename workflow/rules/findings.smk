"""From all probes of a study to one tidy table of estimates, intervals and tests."""


rule similarity:
    """Compare a retriever's vectors with those of the retriever that it is set against."""
    input:
        texts="results/datasets/{dataset}/texts.parquet",
        query=of_job(inputs.side_shards, "retriever", "dataset", side="query"),
        passage=of_job(inputs.side_shards, "retriever", "dataset", side="passage"),
        other_query=of_job(inputs.side_shards, "retriever", "dataset", side="query", other=True),
        other_passage=of_job(inputs.side_shards, "retriever", "dataset", side="passage", other=True),
    output:
        "results/studies/{study}/findings/similarity/{retriever}/{dataset}.parquet",
    log:
        "results/logs/similarity/{study}/{retriever}/{dataset}.log",
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=layer_memory,
        runtime=60,
    params:
        spec=slice_of(specs.similarity, "retriever", "dataset"),
        code=fingerprint.code("similarity"),
        query=of_job(inputs.side_folder, "retriever", "dataset", side="query"),
        passage=of_job(inputs.side_folder, "retriever", "dataset", side="passage"),
        other_query=of_job(inputs.side_folder, "retriever", "dataset", side="query", other=True),
        other_passage=of_job(inputs.side_folder, "retriever", "dataset", side="passage", other=True),
    shell:
        "wellspring similarity {input.texts} {output}"
        " --query {params.query:q} --passage {params.passage:q}"
        " --other-query {params.other_query:q} --other-passage {params.other_passage:q}"
        " --spec {params.spec:q} --code {params.code} --log {log}"


rule findings:
    """Test every difference and gather everything that the study found."""
    input:
        probes=targets.probe_files(study),
        similarity=targets.similarity_files(study),
    output:
        parquet="results/studies/{study}/findings/findings.parquet",
        csv=report(
            "results/studies/{study}/findings/findings.csv",
            caption="../report/findings.rst",
            category="Findings",
        ),
        training=report(
            "results/studies/{study}/findings/training.csv",
            caption="../report/training.rst",
            category="Findings",
        ),
    log:
        "results/logs/findings/{study}.log",
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        spec=specs.findings(study).canonical(),
        code=fingerprint.code("findings"),
    shell:
        "wellspring findings results/probes results/studies/{wildcards.study}/findings/similarity"
        " {output.parquet} {output.csv} {output.training}"
        " --spec {params.spec:q} --code {params.code} --log {log}"


rule published:
    """Set the study's curves against published ones."""
    input:
        findings="results/studies/{study}/findings/findings.parquet",
        published=targets.published_files(study),
    output:
        report(
            "results/studies/{study}/findings/published.csv",
            caption="../report/published.rst",
            category="Findings",
        ),
    log:
        "results/logs/published/{study}.log",
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=1500,
        runtime=20,
    params:
        spec=specs.published(study, study.drawn_probe()).canonical(),
        code=fingerprint.code("published"),
    shell:
        "wellspring published {input.findings} {input.published} {output}"
        " --spec {params.spec:q} --code {params.code} --log {log}"


rule agreement:
    """Correlate a retriever's scores with each other, with its counterpart's, and with what removal
    does."""
    input:
        of_job(inputs.agreement_files, "retriever", "dataset"),
    output:
        "results/studies/{study}/findings/agreement/{retriever}/{dataset}.parquet",
    log:
        "results/logs/agreement/{study}/{retriever}/{dataset}.log",
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        spec=slice_of(specs.agreement, "retriever", "dataset"),
        code=fingerprint.code("agreement"),
    shell:
        "wellspring agreement results/attributions results/removals {wildcards.dataset} {output}"
        " --spec {params.spec:q} --code {params.code} --log {log}"


rule decentralisation:
    """Measure over how many neurons texts are spread, and how that changes."""
    input:
        targets.activation_files(study),
        targets.ablation_files(study),
        targets.agreement_files(study),
    output:
        parquet="results/studies/{study}/findings/decentralisation.parquet",
        csv=report(
            "results/studies/{study}/findings/decentralisation.csv",
            caption="../report/decentralisation.rst",
            category="Findings",
        ),
    log:
        "results/logs/decentralisation/{study}.log",
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        spec=slice_of(specs.decentralisation),
        code=fingerprint.code("decentralisation"),
    shell:
        "wellspring decentralisation results/activations results/ablations"
        " results/studies/{wildcards.study}/findings/agreement"
        " {output.parquet} {output.csv}"
        " --spec {params.spec:q} --code {params.code} --log {log}"


rule claims:
    """Judge the published claims on every pair, with settings tested together."""
    input:
        targets.probe_files(study),
        targets.activation_files(study),
    output:
        report(
            "results/studies/{study}/findings/claims.csv",
            caption="../report/claims.rst",
            category="Findings",
        ),
    log:
        "results/logs/claims/{study}.log",
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        spec=slice_of(specs.claims),
        code=fingerprint.code("claims"),
    shell:
        "wellspring claims results/probes results/activations {output}"
        " --spec {params.spec:q} --code {params.code} --log {log}"


rule cautions:
    """Gather what a reader should be careful of: once, for the figures and for the report."""
    input:
        "results/studies/{study}/findings/findings.parquet",
        "results/studies/{study}/findings/training.csv",
        targets.compared_files(study),
        targets.samples_files(study),
        targets.activation_files(study),
    output:
        report(
            "results/studies/{study}/findings/cautions.csv",
            caption="../report/cautions.rst",
            category="Findings",
        ),
    log:
        "results/logs/cautions/{study}.log",
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        spec=slice_of(specs.cautions),
        code=fingerprint.code("cautions"),
    shell:
        "wellspring cautions results/studies/{wildcards.study}/findings results/datasets"
        " results/activations {output}"
        " --spec {params.spec:q} --code {params.code} --log {log}"
