"""From texts and weights to vectors at every layer."""


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
