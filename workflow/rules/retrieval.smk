"""From vectors, terms and words to what is found in a whole corpus, and how good that is."""


rule rank:
    """Rank the whole corpus for every query by words and by pieces of words."""
    input:
        inputs_of(kinds.LexicalRun),
    output:
        run=kinds.LexicalRun.path(),
        metrics=kinds.LexicalMetrics.path(),
        validation=kinds.LexicalValidation.path(),
    log:
        kinds.LexicalRun.log(),
    cache: shared
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        **params_of(kinds.LexicalRun),
    shell:
        "wellspring rank {input.texts} {input.qrels} {output.run}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule scan:
    """Encode one shard of the corpus, search it at every layer and drop it."""
    input:
        inputs_of(kinds.Scan),
    output:
        kinds.Scan.path(),
    log:
        kinds.Scan.log(),
    cache: shared
    conda:
        "../../envs/wellspring.yaml"
    threads: kinds.Scan.threads
    resources:
        **ON_GPU,
        mem_mb=growing(scan_memory),
        runtime=growing(360),
        tokens=0,
    params:
        **params_of(kinds.Scan),
        query=folder_of("query"),
    shell:
        "wellspring scan {input.texts} {input.qrels} {input.model} {output}"
        " --query {params.query:q} --threads {threads} --tokens {resources.tokens}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule search:
    """Search the whole corpus for every query at every layer: the shards are read once."""
    input:
        inputs_of(kinds.Run),
    output:
        run=kinds.Run.path(),
        metrics=kinds.SearchMetrics.path(),
        validation=kinds.SearchValidation.path(),
        fusion=kinds.FusionMetrics.path(),
    log:
        kinds.Run.log(),
    cache: shared
    conda:
        "../../envs/wellspring.yaml"
    threads: kinds.Run.threads
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        **params_of(kinds.Run),
        query=option_of("query", folder=True),
        passage=option_of("passage", folder=True),
        scans=option_of("scans", folder=True),
    shell:
        "wellspring search {input.texts} {input.qrels} {input.words} {output.run}"
        " {params.query} {params.passage} {params.scans} --threads {threads}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule match:
    """Search the whole corpus for every query by the terms of a sparse retriever."""
    input:
        inputs_of(kinds.TermRun),
    output:
        run=kinds.TermRun.path(),
        metrics=kinds.TermMetrics.path(),
        validation=kinds.TermValidation.path(),
    log:
        kinds.TermRun.log(),
    cache: shared
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        **params_of(kinds.TermRun),
        query=folder_of("query"),
        passage=folder_of("passage"),
    shell:
        "wellspring match {input.texts} {input.qrels} {output.run}"
        " --query {params.query:q} --passage {params.passage:q}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule index:
    """Set approximate indexes of the last layer beside exact search: quality, size and time."""
    input:
        inputs_of(kinds.IndexMetrics),
    output:
        metrics=kinds.IndexMetrics.path(),
        latency=kinds.IndexTimes.path(),
    log:
        kinds.IndexMetrics.log(),
    cache: shared
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=growing(layer_memory),
        runtime=growing(layer_runtime),
    params:
        **params_of(kinds.IndexMetrics),
        query=folder_of("query"),
        passage=folder_of("passage"),
    shell:
        "wellspring index {input.texts} {input.qrels} {output.metrics} {output.latency}"
        " --query {params.query:q} --passage {params.passage:q}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule indexes:
    """Gather what a study's indexes find, how large they are, and how long a query takes."""
    input:
        inputs_of(kinds.Indexes),
    output:
        parquet=kinds.Indexes.path(),
        csv=report(
            kinds.Indexes.path().replace(".parquet", ".csv"),
            caption="../report/indexes.rst",
            category="Findings",
        ),
    log:
        kinds.Indexes.log(),
    localrule: True
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        **params_of(kinds.Indexes),
    shell:
        "wellspring indexes {output.parquet}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule retrieval:
    """Set every layer beside words, beside fusion and beside the counterpart."""
    input:
        inputs_of(kinds.Retrieval),
    output:
        parquet=kinds.Retrieval.path(),
        csv=report(
            kinds.Retrieval.path().replace(".parquet", ".csv"),
            caption="../report/retrieval.rst",
            category="Findings",
        ),
    log:
        kinds.Retrieval.log(),
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        **params_of(kinds.Retrieval),
    shell:
        "wellspring retrieval {output.parquet}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"
