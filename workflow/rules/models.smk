"""From a model's entry to described weights."""


rule fetch:
    """Fetch a checkpoint of the hub; fetched.json is written last, beside its files."""
    output:
        "results/models/hub/{checkpoint}/fetched.json",
    log:
        "results/logs/fetch/{checkpoint}.log",
    localrule: True
    conda:
        "../../envs/wellspring.yaml"
    params:
        spec=slice_of(specs.fetch, "checkpoint"),
    shell:
        "wellspring fetch {output} --spec {params.spec:q} --log {log}"


rule model:
    """Find or make the weights; model.json is written last and holds their sha256."""
    input:
        of_job(specs.checkpoint_files, "model"),
    output:
        "results/models/{model}/model.json",
    log:
        "results/logs/model/{model}.log",
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        spec=slice_of(specs.model, "model"),
        code=of_job(inputs.model_code, "model"),
    shell:
        "wellspring model {output}" " --spec {params.spec:q} --code {params.code} --log {log}"
