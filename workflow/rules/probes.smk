"""From one layer's vectors to the outcome of every test sample under every probe."""

for batch in batches_of(kinds.ProbeOutcomes):

    rule:
        """Fit all probe kinds and seeds of one layer and its passage counts, on one thread."""
        name:
            batch.name
        input:
            inputs_of(batch),
        output:
            **files_of(batch),
        log:
            batch.log(),
        wildcard_constraints:
            **batch.constraints(),
        cache: shared
        conda:
            "../../envs/wellspring.yaml"
        threads: 1
        resources:
            mem_mb=growing(layer_memory),
            runtime=growing(layer_runtime, len(batch.values)),
        params:
            **params_of(batch),
            query=folder_of("query"),
            passage=folder_of("passage"),
        shell:
            "wellspring probe {input.samples} {input.lexical} {params.files}"
            " --query {params.query:q} --passage {params.passage:q} --layer {wildcards.layer}"
            " --spec {params.spec:q} --code {params.code} --log {log}"
