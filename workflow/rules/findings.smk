"""From all probes of a study to one tidy table of estimates, intervals and tests."""


rule similarity:
    """Compare a retriever's vectors with those of the retriever that it is set against."""
    input:
        inputs_of(kinds.Similarity),
    output:
        kinds.Similarity.path(),
    log:
        kinds.Similarity.log(),
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=growing(layer_memory),
        runtime=growing(60),
    params:
        **params_of(kinds.Similarity),
        query=folder_of("query"),
        passage=folder_of("passage"),
        other_query=folder_of("other_query"),
        other_passage=folder_of("other_passage"),
    shell:
        "wellspring similarity {input.texts} {output}"
        " --query {params.query:q} --passage {params.passage:q}"
        " --other-query {params.other_query:q} --other-passage {params.other_passage:q}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule findings:
    """Test every difference and gather everything that the study found."""
    input:
        inputs_of(kinds.Findings),
    output:
        parquet=kinds.Findings.path(),
        training=kinds.Training.path(),
        csv=report(
            kinds.Findings.path().replace(".parquet", ".csv"),
            caption="../report/findings.rst",
            category="Findings",
        ),
        training_csv=report(
            kinds.Training.path().replace(".parquet", ".csv"),
            caption="../report/training.rst",
            category="Findings",
        ),
    log:
        kinds.Findings.log(),
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        **params_of(kinds.Findings),
    shell:
        "wellspring findings {output.parquet} {output.training}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule leakage:
    """Count test texts that stand in what models learned from."""
    input:
        inputs_of(kinds.Leakage),
    output:
        kinds.Leakage.path(),
    log:
        kinds.Leakage.log(),
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        **params_of(kinds.Leakage),
        inputs=named_inputs,
    shell:
        "wellspring leakage {output} {params.inputs}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule power:
    """Tell how likely the study was to see true differences of some sizes."""
    input:
        inputs_of(kinds.Power),
    output:
        parquet=kinds.Power.path(),
        csv=report(
            kinds.Power.path().replace(".parquet", ".csv"),
            caption="../report/power.rst",
            category="Findings",
        ),
    log:
        kinds.Power.log(),
    localrule: True
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=1500,
        runtime=20,
    params:
        **params_of(kinds.Power),
        inputs=named_inputs,
    shell:
        "wellspring power {output.parquet} {params.inputs}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule published:
    """Set the study's curves against published ones."""
    input:
        inputs_of(kinds.Published),
    output:
        parquet=kinds.Published.path(),
        csv=report(
            kinds.Published.path().replace(".parquet", ".csv"),
            caption="../report/published.rst",
            category="Findings",
        ),
    log:
        kinds.Published.log(),
    localrule: True
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=1500,
        runtime=20,
    params:
        **params_of(kinds.Published),
    shell:
        "wellspring published {input.findings} {input.published:q} {output.parquet}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule agreement:
    """Correlate a retriever's scores with each other, with its counterpart's, and with what removal
    does."""
    input:
        inputs_of(kinds.Agreement),
    output:
        kinds.Agreement.path(),
    log:
        kinds.Agreement.log(),
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        **params_of(kinds.Agreement),
    shell:
        "wellspring agreement {output} --dataset {wildcards.dataset}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule decentralisation:
    """Measure over how many neurons texts are spread, and how that changes."""
    input:
        inputs_of(kinds.Decentralisation),
    output:
        parquet=kinds.Decentralisation.path(),
        csv=report(
            kinds.Decentralisation.path().replace(".parquet", ".csv"),
            caption="../report/decentralisation.rst",
            category="Findings",
        ),
    log:
        kinds.Decentralisation.log(),
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        **params_of(kinds.Decentralisation),
    shell:
        "wellspring decentralisation {output.parquet}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule scaling:
    """Measure what a doubling of size brings, and whether that differs between ladders of models."""
    input:
        inputs_of(kinds.Scaling),
    output:
        parquet=kinds.Scaling.path(),
        rates=kinds.LearningRates.path(),
        csv=report(
            kinds.Scaling.path().replace(".parquet", ".csv"),
            caption="../report/scaling.rst",
            category="Findings",
        ),
        rates_csv=report(
            kinds.LearningRates.path().replace(".parquet", ".csv"),
            caption="../report/learning-rates.rst",
            category="Findings",
        ),
        ladders=kinds.Ladders.path(),
        ladders_csv=report(
            kinds.Ladders.path().replace(".parquet", ".csv"),
            caption="../report/ladders.rst",
            category="Findings",
        ),
    log:
        kinds.Scaling.log(),
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        **params_of(kinds.Scaling),
    shell:
        "wellspring scaling {output.parquet} {output.rates} {output.ladders}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule claims:
    """Judge the published claims on every pair, with settings tested together."""
    input:
        inputs_of(kinds.Claims),
    output:
        parquet=kinds.Claims.path(),
        csv=report(
            kinds.Claims.path().replace(".parquet", ".csv"),
            caption="../report/claims.rst",
            category="Findings",
        ),
    log:
        kinds.Claims.log(),
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        **params_of(kinds.Claims),
    shell:
        "wellspring claims {output.parquet}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule ledger:
    """Judge every claim of the studied documents by the study's tables."""
    input:
        inputs_of(kinds.Ledger),
    output:
        parquet=kinds.Ledger.path(),
        csv=report(
            kinds.Ledger.path().replace(".parquet", ".csv"),
            caption="../report/ledger.rst",
            category="Findings",
        ),
    log:
        kinds.Ledger.log(),
    localrule: True
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=1500,
        runtime=20,
    params:
        **params_of(kinds.Ledger),
        inputs=named_inputs,
    shell:
        "wellspring ledger {output.parquet} {params.inputs}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule cautions:
    """Gather what a reader should be careful of: once, for the figures and for the report."""
    input:
        inputs_of(kinds.Cautions),
    output:
        parquet=kinds.Cautions.path(),
        csv=report(
            kinds.Cautions.path().replace(".parquet", ".csv"),
            caption="../report/cautions.rst",
            category="Findings",
        ),
    log:
        kinds.Cautions.log(),
    localrule: True
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        **params_of(kinds.Cautions),
    shell:
        "wellspring cautions {output.parquet}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule dimensions:
    """Set what retrievers find against a reference setting of each dimension."""
    input:
        inputs_of(kinds.Dimensions),
    output:
        parquet=kinds.Dimensions.path(),
        csv=report(
            kinds.Dimensions.path().replace(".parquet", ".csv"),
            caption="../report/dimensions.rst",
            category="Findings",
        ),
    log:
        kinds.Dimensions.log(),
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        **params_of(kinds.Dimensions),
    shell:
        "wellspring dimensions {output.parquet}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule evidence:
    """Set all that is known of each layer side by side, and tell what predicts what."""
    input:
        inputs_of(kinds.Evidence),
    output:
        parquet=kinds.Evidence.path(),
        correlations=kinds.EvidenceCorrelations.path(),
        csv=report(
            kinds.Evidence.path().replace(".parquet", ".csv"),
            caption="../report/evidence.rst",
            category="Findings",
        ),
        correlations_csv=report(
            kinds.EvidenceCorrelations.path().replace(".parquet", ".csv"),
            caption="../report/evidence-correlations.rst",
            category="Findings",
        ),
    log:
        kinds.Evidence.log(),
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        **params_of(kinds.Evidence),
    shell:
        "wellspring evidence {output.parquet} {output.correlations}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"
