"""The layers: each folder imports only from folders left of it, whether at import time, late, or for types alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import shardserve

LAYERS = ("config", "net", "http", "gateway", "worker", "supervisor", "cli")
OPEN = ("build", "errors", "logs", "native")  # open to every layer
ABOVE = ("__init__", "__main__")  # the doors: they may import every layer
ALONE = ("demo",)  # an application like any other

ROOT = Path(shardserve.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def part(path: Path) -> str:
    """The part a file belongs to: its folder, or its own name at the top."""
    relative = path.relative_to(ROOT)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports(path: Path) -> set[str]:
    """The parts of shardserve that a file imports anywhere in it; "" for the package itself."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "shardserve" else [module]
        for name in names:
            first, _, rest = name.partition(".")
            if first == "shardserve":
                found.add(rest.split(".")[0])
    return found


def allowed(where: str) -> set[str]:
    if where in ABOVE:
        return {*LAYERS, *OPEN, *ABOVE}
    if where in LAYERS:
        return {*LAYERS[: LAYERS.index(where) + 1], *OPEN, "__version__"}
    return set()


def test_the_layers_are_those_that_are_there() -> None:
    there = {part(path) for path in FILES}
    assert there == {*LAYERS, *OPEN, *ABOVE, *ALONE}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_leftwards(path: Path) -> None:
    assert imports(path) <= allowed(part(path))


def test_importing_the_package_imports_no_layer() -> None:
    """`import shardserve` stays cheap: at the top of its file stands no import of a layer."""
    tree = ast.parse((ROOT / "__init__.py").read_text())
    names = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert names == ["from __future__ import annotations"]
