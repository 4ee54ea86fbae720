"""From the study's table to its pictures."""


rule figure:
    """Draw one figure of a dataset, for print (PDF) and for reading (PNG)."""
    input:
        findings="results/studies/{study}/findings/findings.parquet",
        published=published_files,
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
        probe=drawn_probe,
        options=figure_options,
        code=fingerprint.code("figure"),
    shell:
        "wellspring figure {params.options}"
        " {wildcards.dataset} {input.findings} {output.pdf} {output.png}"
        " --probe {params.probe} --code {params.code} --log {log}"


rule controls:
    """Draw a retriever's published probe against its controls."""
    input:
        "results/studies/{study}/findings/findings.parquet",
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
        code=fingerprint.code("figure"),
    shell:
        "wellspring figure controls {wildcards.dataset} {input} {output.pdf} {output.png}"
        " --retriever {wildcards.retriever} --code {params.code} --log {log}"
