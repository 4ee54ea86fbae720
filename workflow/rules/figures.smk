"""From the study's table to its pictures."""


rule figure:
    """Draw one figure of a dataset, for print (PDF) and for reading (PNG)."""
    input:
        findings="results/studies/{study}/findings/findings.parquet",
        cautions="results/studies/{study}/findings/cautions.csv",
        published=targets.published_files(study),
    output:
        pdf="results/studies/{study}/figures/{dataset}/{figure}.pdf",
        png=report(
            "results/studies/{study}/figures/{dataset}/{figure}.png",
            caption="../report/figure.rst",
            category="Figures",
            subcategory="{dataset}",
            labels={"figure": "{figure}"},
        ),
    log:
        "results/logs/figure/{study}/{dataset}/{figure}.log",
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=1500,
        runtime=20,
    params:
        probe=of_job(configuration.Config.drawn_probe, "dataset"),
        options=of_job(targets.figure_options, "figure", "dataset"),
        code=fingerprint.code("figure"),
    shell:
        "wellspring figure {params.options}"
        " {wildcards.dataset} {input.findings} {output.pdf} {output.png}"
        " --probe {params.probe} --cautions {input.cautions} --code {params.code} --log {log}"


rule controls:
    """Draw a retriever's published probe against its controls."""
    input:
        findings="results/studies/{study}/findings/findings.parquet",
        cautions="results/studies/{study}/findings/cautions.csv",
    output:
        pdf="results/studies/{study}/figures/{dataset}/controls/{retriever}.pdf",
        png=report(
            "results/studies/{study}/figures/{dataset}/controls/{retriever}.png",
            caption="../report/controls.rst",
            category="Figures",
            subcategory="{dataset}",
            labels={"figure": "controls of {retriever}"},
        ),
    log:
        "results/logs/controls/{study}/{dataset}/{retriever}.log",
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=1500,
        runtime=20,
    params:
        options=targets.twin_options(study),
        code=fingerprint.code("figure"),
    shell:
        "wellspring figure controls {wildcards.dataset} {input.findings} {output.pdf} {output.png}"
        " --retriever {wildcards.retriever} {params.options} --cautions {input.cautions} --code {params.code} --log {log}"


rule heatmap:
    """Draw which neurons of a retriever and of its counterpart are active, or the change."""
    input:
        own=of_job(inputs.side_activations, *DRAWN),
        other=of_job(inputs.side_activations, *DRAWN, other=True),
        cautions="results/studies/{study}/findings/cautions.csv",
    output:
        pdf="results/studies/{study}/figures/{dataset}/{attribution}/{retriever}/{map}/{side}.pdf",
        png=report(
            "results/studies/{study}/figures/{dataset}/{attribution}/{retriever}/{map}/{side}.png",
            caption="../report/heatmap.rst",
            category="Figures",
            subcategory="{dataset}",
            labels={"figure": "{map} of {retriever}, {side} side, by {attribution}"},
        ),
    log:
        "results/logs/heatmap/{study}/{dataset}/{attribution}/{retriever}/{map}/{side}.log",
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        names=of_job(inputs.pair_names, "retriever"),
        options=of_job(targets.map_options, "attribution", "retriever", "dataset"),
        code=fingerprint.code("heatmap"),
    shell:
        "wellspring heatmap {wildcards.map} {input.own} {input.other} {output.pdf} {output.png}"
        " --names {params.names} {params.options}"
        " --dataset {wildcards.dataset} --attribution {wildcards.attribution} --side {wildcards.side}"
        " --cautions {input.cautions}"
        " --code {params.code} --log {log}"


rule attribution_figure:
    """Draw how attributions concentrate, depend on the threshold, and stand up to ablation."""
    input:
        findings="results/studies/{study}/findings/decentralisation.parquet",
        cautions="results/studies/{study}/findings/cautions.csv",
    output:
        pdf="results/studies/{study}/figures/{dataset}/{attribution}/{retriever}/{drawing}.pdf",
        png=report(
            "results/studies/{study}/figures/{dataset}/{attribution}/{retriever}/{drawing}.png",
            caption="../report/attribution_figure.rst",
            category="Figures",
            subcategory="{dataset}",
            labels={"figure": "{drawing} of {retriever} by {attribution}"},
        ),
    log:
        "results/logs/attribution_figure/{study}/{dataset}/{attribution}/{retriever}/{drawing}.log",
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        options=of_job(targets.drawing_options, "drawing", "attribution", "retriever", "dataset"),
        code=fingerprint.code("decentralisation_figure"),
    shell:
        "wellspring figure {wildcards.drawing} {wildcards.dataset} {input.findings} {output.pdf} {output.png}"
        " --attribution {wildcards.attribution} --retriever {wildcards.retriever} {params.options}"
        " --cautions {input.cautions}"
        " --code {params.code} --log {log}"


rule fidelity:
    """Draw which attributions predict what removing a neuron does."""
    input:
        findings="results/studies/{study}/findings/decentralisation.parquet",
        cautions="results/studies/{study}/findings/cautions.csv",
    output:
        pdf="results/studies/{study}/figures/{dataset}/fidelity/{retriever}.pdf",
        png=report(
            "results/studies/{study}/figures/{dataset}/fidelity/{retriever}.png",
            caption="../report/fidelity.rst",
            category="Figures",
            subcategory="{dataset}",
            labels={"figure": "fidelity of the attributions of {retriever}"},
        ),
    log:
        "results/logs/fidelity/{study}/{dataset}/{retriever}.log",
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=fingerprint.code("decentralisation_figure"),
    shell:
        "wellspring figure fidelity {wildcards.dataset} {input.findings} {output.pdf} {output.png}"
        " --retriever {wildcards.retriever} --cautions {input.cautions} --code {params.code} --log {log}"
