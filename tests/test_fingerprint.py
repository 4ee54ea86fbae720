"""The fingerprint: what changes it, what must not, and whether its table is true to the imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from wellspring import fingerprint
from wellspring.config import ARCHITECTURES
from wellspring.config.datasets import FORMATS
from wellspring.errors import WellspringError

VARIANTS = {"texts": FORMATS, "model": ARCHITECTURES, "embed": ARCHITECTURES}
VARIANTS |= dict.fromkeys(("attribute", "explain", "ablate", "remove"), ARCHITECTURES)
STEPS = [(step, variant) for step in fingerprint.STEPS for variant in VARIANTS.get(step, [None])]
# An architecture that the configuration defines has no module.
STEPS += [(step, None) for step, variants in VARIANTS.items() if variants is ARCHITECTURES]


def imports(name: str) -> set[str]:
    """The project's modules that a module imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(fingerprint._file(name).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    inside = {module.removeprefix("wellspring.") for module in found if "wellspring." in module}
    return {module for module in inside if fingerprint._file(module).is_file()}


def is_leaf(module: str) -> bool:
    return module.split(".")[0] in fingerprint.LEAVES


def has_code(package: str) -> bool:
    tree = ast.parse(fingerprint._file(package).read_text())
    return any(not isinstance(node, ast.Expr) for node in tree.body)


@pytest.mark.parametrize(("step", "variant"), STEPS)
def test_the_table_is_the_import_closure(step, variant):
    listed = set(fingerprint.modules(step, variant))
    reached, waiting = set(), set(listed)
    while waiting:
        module = waiting.pop()
        reached.add(module)
        parents = {module.rpartition(".")[0]} - {""}
        needed = imports(module) | {parent for parent in parents if has_code(parent)}
        waiting |= {name for name in needed if not is_leaf(name)} - reached
    packages = {name for name in reached if fingerprint._file(name).name == "__init__.py"}
    reached -= {name for name in packages if not has_code(name)}
    assert reached == listed


def test_every_science_module_is_in_the_table():
    package = fingerprint.PACKAGE
    every = {
        ".".join(path.relative_to(package).with_suffix("").parts) for path in package.rglob("*.py")
    }
    every = {name.removesuffix(".__init__") for name in every} - {"__init__", "__main__"}
    every = {name for name in every if not is_leaf(name) and has_code(name)}
    listed = {name for step, variant in STEPS for name in fingerprint.modules(step, variant)}
    assert every == listed


def meaning(text: str, tmp_path: Path) -> str:
    path = tmp_path / "module.py"
    path.write_text(text)
    return fingerprint._meaning(path)


def test_comments_docstrings_and_layout_do_not_count(tmp_path):
    bare = "X = 1\n\ndef f(a):\n    return a + X\n\nclass C:\n    y: int = 2\n"
    dressed = (
        '"""Module."""\n# why\nX = (1)\n"""About X."""\n\n\ndef f(\n    a,\n):\n'
        '    """Docstring."""\n    # comment\n    return a + X\n\n'
        'class C:\n    """Class."""\n    y: int = 2\n    """About y."""\n'
    )
    assert meaning(bare, tmp_path) == meaning(dressed, tmp_path)
    assert meaning(bare.replace("a + X", "a - X"), tmp_path) != meaning(bare, tmp_path)
    assert meaning("def f():\n    'only a docstring'\n", tmp_path).strip().endswith("pass")


def test_a_job_refuses_code_that_changed_while_it_waited():
    fingerprint.check("samples", None, fingerprint.code("samples"))
    with pytest.raises(WellspringError, match="changed after this job was planned"):
        fingerprint.check("samples", None, "0" * 16)


def test_imports_point_down():
    """A module imports only from stages below its own."""
    order = ["leaf", "datasets", "models", "embeddings", "probes", "attributions"]
    order += ["findings", "figures", "cli"]
    package = fingerprint.PACKAGE
    for path in package.rglob("*.py"):
        name = ".".join(path.relative_to(package).with_suffix("").parts).removesuffix(".__init__")
        stage = name.split(".")[0]
        level = order.index(stage) if stage in order else 0
        for module in imports(name) if name not in {"__init__", "__main__"} else ():
            other = module.split(".")[0]
            assert (order.index(other) if other in order else 0) <= level, f"{name} → {module}"
