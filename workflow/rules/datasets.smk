"""From a source to texts, samples, qrels and lexical scores."""


rule download:
    """Fetch one file of a source that lies elsewhere, resumed where it was cut."""
    output:
        description=kinds.Download.path(),
        file=kinds.Download.DATA,
    log:
        kinds.Download.log(),
    localrule: True
    conda:
        "../../envs/wellspring.yaml"
    params:
        **params_of(kinds.Download),
    shell:
        "wellspring download {output.description} {output.file}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule texts:
    """Read a dataset's source: every text once, and who judged what."""
    input:
        inputs_of(kinds.Texts),
    output:
        texts=kinds.Texts.path(),
        judgements=kinds.Judgements.path(),
    log:
        kinds.Texts.log(),
    cache: shared
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        **params_of(kinds.Texts),
    shell:
        "wellspring texts {output.texts} {output.judgements}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule samples:
    """Draw hard negatives and splits; no embedding depends on them."""
    input:
        inputs_of(kinds.Samples),
    output:
        kinds.Samples.path(),
    log:
        kinds.Samples.log(),
    cache: shared
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        **params_of(kinds.Samples),
    shell:
        "wellspring samples {input.texts} {input.judgements} {output}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule qrels:
    """Write the judgements as qrels, with the split of each query."""
    input:
        inputs_of(kinds.Qrels),
    output:
        kinds.Qrels.path(),
    log:
        kinds.Qrels.log(),
    cache: shared
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        **params_of(kinds.Qrels),
    shell:
        "wellspring qrels {input.texts} {input.judgements} {output}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule lexical:
    """Score every sample's candidates by words and by pieces of words: the floor of the probes."""
    input:
        inputs_of(kinds.Lexical),
    output:
        kinds.Lexical.path(),
    log:
        kinds.Lexical.log(),
    cache: shared
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        **params_of(kinds.Lexical),
    shell:
        "wellspring lexical {input.texts} {input.samples} {output}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"
