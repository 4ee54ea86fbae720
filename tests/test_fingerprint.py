"""The fingerprint: what changes it, what must not, and which modules it covers."""

from __future__ import annotations

import ast
import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import studies
from tests.support.paths import ROOT
from wellspring import fingerprint, specs
from wellspring.artefacts import Plan
from wellspring.artefacts.training import TeacherScores
from wellspring.config import ARCHITECTURES, CrossEncoder
from wellspring.config.datasets import FORMATS
from wellspring.errors import WellspringError


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of the package, by its name inside it."""
    package = fingerprint.PACKAGE
    paths = {
        ".".join(path.relative_to(package).with_suffix("").parts): path
        for path in package.rglob("*.py")
    }
    names = {name.removesuffix(".__init__"): path for name, path in paths.items()}
    return {name: path for name, path in names.items() if name not in {"__init__", "__main__"}}


def imports(path: Path) -> set[str]:
    """The package's modules that a file imports, inside functions and for type checkers, too."""
    named = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            named |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    inside = {name.removeprefix("wellspring.") for name in named if "wellspring." in name}
    return inside & modules().keys()


def test_the_closure_follows_imports_and_stops_at_plumbing():
    closure = fingerprint.closure(("probes",))
    assert {"probes.training", "intervals", "randomness", "datasets.splits"} <= set(closure)
    assert not any(fingerprint.is_leaf(name) for name in closure)
    assert "figures.panels" not in closure and "models.load" not in closure
    # Another architecture's module is no part of it, nor one that only a type checker imports.
    embedding = fingerprint.closure(("embeddings", "models.load", "models.bert"))
    assert "models.bert" in embedding and "models.llama" not in embedding
    assert "pooling" in embedding and "attributions.fused" not in embedding


LOADED = """
import importlib, json, sys
importlib.import_module(f"wellspring.{sys.argv[1]}")
print(json.dumps([name for name in sys.modules if name.startswith("wellspring.")]))
"""


@pytest.mark.parametrize(
    "entry", ["datasets.samples", "findings.table", "findings.claims", "figures.heatmaps"]
)
def test_what_python_imports_is_in_the_closure(entry):
    """An independent witness: the modules that importing the entry really loads."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, entry], capture_output=True, text=True, check=True
    )
    loaded = {name.removeprefix("wellspring.") for name in json.loads(done.stdout)}
    science = {name for name in loaded if not fingerprint.is_leaf(name)}
    coded = {name for name in science if fingerprint._meaning(modules()[name].read_bytes())}
    assert entry in coded and coded <= set(fingerprint.closure((entry,)))


OUTSIDE = {"retrieval.trec"}
"""What no step asks: a reader of the library and the commands that are no step do."""


ON_TOP = ("paper sparse", "scaling scaling-small")
"""Files of studies that lie on top of others."""


def test_every_science_module_is_in_some_fingerprint():
    entries = {f"models.{name}" for name in ARCHITECTURES}
    entries |= {f"datasets.{name}" for name in FORMATS}
    # Teachers, and fresh models with a tokenizer of their own, which no study here has.
    for teacher in (None, CrossEncoder(source="path:judge")):
        entries |= {*TeacherScores.science(specs.TeachSpec(cross_encoder=teacher))}
    entries |= {"models.vocabulary"}
    for names in ("", "methods", "paper", "budget", "dimensions", "search", *ON_TOP):
        plan = Plan(studies.read([ROOT / "studies" / f"{name}.yaml" for name in names.split()]))
        for artefact in plan.closure(plan.ends()):
            entries |= set(artefact.science(plan.spec(artefact)))
    science = {
        name
        for name, path in modules().items()
        if not fingerprint.is_leaf(name) and fingerprint._meaning(path.read_bytes())
    }
    assert science - OUTSIDE == set(fingerprint.closure(tuple(sorted(entries))))


def meaning(text: str) -> str:
    return fingerprint._meaning(text.encode())


def test_comments_docstrings_and_layout_do_not_count():
    bare = "X = 1\n\ndef f(a):\n    return a + X\n\nclass C:\n    y: int = 2\n"
    dressed = (
        '"""Module."""\n# why\nX = (1)\n"""About X."""\n\n\ndef f(\n    a,\n):\n'
        '    """Docstring."""\n    # comment\n    return a + X\n\n'
        'class C:\n    """Class."""\n    y: int = 2\n    """About y."""\n'
    )
    assert meaning(bare) == meaning(dressed)
    assert meaning(bare.replace("a + X", "a - X")) != meaning(bare)
    assert meaning("def f():\n    'only a docstring'\n").strip().endswith("pass")


def test_what_modules_say_is_kept_until_their_text_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    module, kept = tmp_path / "module.py", tmp_path / "kept.json"

    def said(text, rules="a"):
        module.write_text(text)
        memory = fingerprint._Memory(kept, rules)
        told = memory.said("module", module)
        memory.save()
        return told

    first = said("import json\nX = 1\n")
    assert first.imports == ["json"] and first.meaning
    with monkeypatch.context() as patch:
        patch.setattr(fingerprint, "_meaning", lambda _: pytest.fail("it was read anew"))
        assert said("import json\nX = 1\n") == first
    assert said("import json\nX = 2\n").meaning != first.meaning
    assert said("import json\nX = 1\n", rules="b") == first
    for damage in ("", "[]", '{"rules": "b", "modules": {"module": 1}}'):
        kept.write_text(damage)
        assert said("import json\nX = 1\n", rules="b") == first
    assert said("# nothing\n") == ("", [])


def test_a_job_refuses_code_that_changed_while_it_waited():
    entries = ("datasets.samples",)
    fingerprint.check("samples", entries, fingerprint.code(entries))
    with pytest.raises(WellspringError, match="changed after this job was planned"):
        fingerprint.check("samples", entries, "0" * 16)


def test_imports_point_down():
    """A module imports only from stages below its own."""
    order = ["leaf", "datasets", "models", "embeddings", "sparse", "terms", "training", "probes"]
    order += ["retrieval", "attributions", "findings", "figures", "page", "inspection", "artefacts"]
    order += ["live", "cli"]
    for name, path in modules().items():
        stage = name.partition(".")[0]
        level = order.index(stage) if stage in order else 0
        for module in imports(path):
            other = module.partition(".")[0]
            assert (order.index(other) if other in order else 0) <= level, f"{name} → {module}"


def test_commands_import_no_command_and_benchmarks_none():
    commands = {name: path for name, path in modules().items() if name.startswith("cli.")}
    for name, path in commands.items():
        others = {other for other in imports(path) if other.startswith("cli.")}
        # These are no commands: all may share them.
        assert others <= {f"cli.{each}" for each in ("step", "encoding", "asking", "watching")}, (
            name
        )
    for path in (fingerprint.PACKAGE.parents[1] / "benchmarks").glob("*.py"):
        assert not {name for name in imports(path) if name.partition(".")[0] == "cli"}, path
