"""From texts and weights to vectors at every layer, and to terms."""


rule embed:
    """Embed one shard of one side at every layer, from one forward pass a text."""
    input:
        inputs_of(kinds.EmbeddingShard),
    output:
        kinds.EmbeddingShard.path(),
    log:
        kinds.EmbeddingShard.log(),
    cache: shared
    conda:
        "../../envs/wellspring.yaml"
    threads: kinds.EmbeddingShard.threads
    resources:
        **ON_GPU,
        mem_mb=growing(model_memory),
        runtime=growing(240),
        tokens=0,
    params:
        **params_of(kinds.EmbeddingShard),
    shell:
        "wellspring embed {input.texts} {input.model} {output}"
        " --threads {threads} --tokens {resources.tokens}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule weigh:
    """Weigh the words of one shard of one side by a sparse model's vocabulary head."""
    input:
        inputs_of(kinds.TermShard),
    output:
        kinds.TermShard.path(),
    log:
        kinds.TermShard.log(),
    cache: shared
    conda:
        "../../envs/wellspring.yaml"
    threads: kinds.TermShard.threads
    resources:
        **ON_GPU,
        mem_mb=growing(model_memory),
        runtime=growing(240),
        tokens=0,
    params:
        **params_of(kinds.TermShard),
    shell:
        "wellspring weigh {input.texts} {input.model} {output}"
        " --threads {threads} --tokens {resources.tokens}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"
