"""From the study's tables to its page and its pictures."""


rule page:
    """Tell what the study found: sentences, a table, charts and texts, in one file."""
    input:
        inputs_of(kinds.Page),
    output:
        report(
            kinds.Page.path(),
            caption="../report/page.rst",
            category="Answer",
            labels={"page": "the study's page"},
        ),
    log:
        kinds.Page.log(),
    localrule: True
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        **params_of(kinds.Page),
        published=option_of("published"),
        overlays=overlays,
    shell:
        "wellspring page {output} {params.published} {params.overlays}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule figure:
    """Draw one figure of a dataset, for print (PDF) and for reading (PNG)."""
    input:
        inputs_of(kinds.Figure),
    output:
        pdf=kinds.Figure.pdf(),
        png=report(
            kinds.Figure.path(),
            caption="../report/figure.rst",
            category="Figures",
            subcategory="{dataset}",
            labels={"figure": "{figure}"},
        ),
    log:
        kinds.Figure.log(),
    localrule: True
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        **params_of(kinds.Figure),
        published=option_of("published"),
    shell:
        "wellspring figure {input.findings} {input.cautions} {output.pdf} {output.png}"
        " {params.published}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule controls:
    """Draw a retriever's published probe against its controls."""
    input:
        inputs_of(kinds.Controls),
    output:
        pdf=kinds.Controls.pdf(),
        png=report(
            kinds.Controls.path(),
            caption="../report/controls.rst",
            category="Figures",
            subcategory="{dataset}",
            labels={"figure": "controls of {retriever}"},
        ),
    log:
        kinds.Controls.log(),
    localrule: True
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        **params_of(kinds.Controls),
    shell:
        "wellspring controls {input.findings} {input.cautions} {output.pdf} {output.png}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule heatmap:
    """Draw which neurons of a retriever and of its counterpart are active, or the change."""
    input:
        inputs_of(kinds.HeatMap),
    output:
        pdf=kinds.HeatMap.pdf(),
        png=report(
            kinds.HeatMap.path(),
            caption="../report/heatmap.rst",
            category="Figures",
            subcategory="{dataset}",
            labels={"figure": "{map} of {retriever}, {side} side, by {attribution}"},
        ),
    log:
        kinds.HeatMap.log(),
    localrule: True
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        **params_of(kinds.HeatMap),
    shell:
        "wellspring heatmap {input.own} {input.other} {input.cautions} {output.pdf} {output.png}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule drawing:
    """Draw how attributions concentrate, depend on the threshold, and stand up to ablation."""
    input:
        inputs_of(kinds.Drawing),
    output:
        pdf=kinds.Drawing.pdf(),
        png=report(
            kinds.Drawing.path(),
            caption="../report/drawing.rst",
            category="Figures",
            subcategory="{dataset}",
            labels={"figure": "{drawing} of {retriever} by {attribution}"},
        ),
    log:
        kinds.Drawing.log(),
    localrule: True
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        **params_of(kinds.Drawing),
    shell:
        "wellspring drawing {input.findings} {input.cautions} {output.pdf} {output.png}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule fidelity:
    """Draw which attributions predict what removing a neuron does."""
    input:
        inputs_of(kinds.Fidelity),
    output:
        pdf=kinds.Fidelity.pdf(),
        png=report(
            kinds.Fidelity.path(),
            caption="../report/fidelity.rst",
            category="Figures",
            subcategory="{dataset}",
            labels={"figure": "fidelity of the attributions of {retriever}"},
        ),
    log:
        kinds.Fidelity.log(),
    localrule: True
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        **params_of(kinds.Fidelity),
    shell:
        "wellspring fidelity {input.findings} {input.cautions} {output.pdf} {output.png}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule dimension:
    """Draw what retrievers find along one dimension."""
    input:
        inputs_of(kinds.Dimension),
    output:
        pdf=kinds.Dimension.pdf(),
        png=report(
            kinds.Dimension.path(),
            caption="../report/dimension.rst",
            category="Figures",
            subcategory="dimensions",
            labels={"figure": "{dimension}"},
        ),
    log:
        kinds.Dimension.log(),
    localrule: True
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        **params_of(kinds.Dimension),
    shell:
        "wellspring dimension {input.findings} {output.pdf} {output.png}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule ladder:
    """Draw how quality grows with size, or what size and stages bring on each dataset."""
    input:
        inputs_of(kinds.Ladder),
    output:
        pdf=kinds.Ladder.pdf(),
        png=report(
            kinds.Ladder.path(),
            caption="../report/ladder.rst",
            category="Figures",
            subcategory="ladders",
            labels={"figure": "{ladder}"},
        ),
    log:
        kinds.Ladder.log(),
    localrule: True
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        **params_of(kinds.Ladder),
    shell:
        "wellspring ladder {input.findings} {input.ladders} {output.pdf} {output.png}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"


rule chart:
    """Draw all evidence about a retriever's layers, or what of it predicts what."""
    input:
        inputs_of(kinds.Chart),
    output:
        pdf=kinds.Chart.pdf(),
        png=report(
            kinds.Chart.path(),
            caption="../report/chart.rst",
            category="Figures",
            subcategory="{dataset}",
            labels={"figure": "{chart} of {retriever}"},
        ),
    log:
        kinds.Chart.log(),
    localrule: True
    conda:
        "../../envs/wellspring.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        **params_of(kinds.Chart),
    shell:
        "wellspring chart {input.findings} {input.cautions} {output.pdf} {output.png}"
        " --spec {params.spec:q} --code {params.code} --key {params.key} --log {log}"
