"""Which room may import which: the architecture as a test."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "bench"

# What each file, or each file of a folder, may import of ours. A folder's own front door is its __init__.
ALLOWED = {
    "__init__": set(),
    "contract": set(),
    "cache": set(),
    "study": set(),
    "registry": set(),
    "places": set(),
    "losses": set(),
    "distances": set(),
    "figures": set(),
    "study_file": {"registry", "study"},
    "nets": {"contract"},
    "architectures": {"contract", "nets"},
    "batches": {"contract"},
    "games": {"contract", "losses"},
    "models/__init__": {"contract"},
    "models": {"architectures", "contract", "games", "losses", "nets"},
    "datasets/__init__": {"contract", "registry"},
    "datasets": {"contract", "datasets/__init__"},
    "features": {"batches", "cache", "contract"},
    "applications/__init__": {"contract"},
    "applications": {"applications/__init__", "contract", "evaluation", "figures", "interpolation", "nets"},
    "interpolation": {"contract", "distances"},
    "likelihood": {"contract", "losses", "nets"},
    "metrics": {"contract", "distances", "interpolation", "likelihood"},
    "training": {"batches", "contract"},
    "evaluation": {"cache", "contract", "registry"},
    "pictures": {"contract", "evaluation", "figures", "interpolation"},
    "scheduling": {"study"},
    "executors": {"study", "executors/__init__"},
    "tracking": {"study", "tracking"},
    "statistics": set(),
    "tables": {"statistics", "study"},
    "report": {"figures", "statistics", "study", "tables"},
    "trial": {
        "batches",
        "contract",
        "datasets/__init__",
        "evaluation",
        "figures",
        "models/__init__",
        "pictures",
        "registry",
        "study",
        "training",
    },
    "planning": {"batches", "contract", "datasets/__init__", "study", "tracking", "trial"},
    "running": {
        "contract",
        "executors/__init__",
        "planning",
        "registry",
        "places",
        "scheduling",
        "study",
        "tracking",
        "trial",
    },
}
OWNERS = {
    "optuna": {"scheduling"},
    "mlflow": {"tracking"},
    "click": {"cli"},
    "rich": {"cli"},
    "ray": {"executors"},
    "pytorch_fid": {"features"},
    "sklearn": {"metrics"},
    "torchvision": {"datasets"},
    "matplotlib": {"figures"},
    "pandas": {"report", "tables", "tracking"},
}
NO_TORCH = {"study", "study_file", "registry", "report", "statistics", "tables", "tracking", "scheduling", "executors"}
FILES = sorted(path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.rglob("*.py"))


def imports(file: str) -> set[str]:
    """Every module that a file imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{file}.py").read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            modules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= modules | {str(node.module)}
    return found


def rooms(file: str) -> set[str]:
    """The rooms of ours that a file imports."""
    found = set()
    for name in imports(file):
        parts = name.split(".")
        if parts[0] != "bench" or len(parts) == 1:
            continue
        if parts[1] == "cli":
            found.add("cli")
        elif (PACKAGE / parts[1]).is_dir():
            deeper = len(parts) > 2 and (PACKAGE / parts[1] / f"{parts[2]}.py").exists()
            found.add(parts[1] if deeper else f"{parts[1]}/__init__")
        elif (PACKAGE / f"{parts[1]}.py").exists():
            found.add(parts[1])
    return found


def room(file: str) -> str:
    """The name under which a file stands in ``ALLOWED``."""
    return file if file in ALLOWED else file.split("/")[0]


@pytest.mark.parametrize("file", [file for file in FILES if not file.startswith("cli/")])
def test_imports_are_those_of_the_room(file: str) -> None:
    assert room(file) in ALLOWED, f"{file}: a room without a line in ALLOWED"
    own_door = {f"{file.split('/')[0]}/__init__"} if file.endswith("/__init__") else set()
    assert rooms(file) - own_door <= ALLOWED[room(file)]


@pytest.mark.parametrize("library", sorted(OWNERS))
def test_libraries_have_one_owner(library: str) -> None:
    users = {file.split("/")[0] for file in FILES if any(name.split(".")[0] == library for name in imports(file))}
    assert users <= OWNERS[library]


@pytest.mark.parametrize("name", sorted(NO_TORCH))
def test_plain_rooms_do_without_torch(name: str) -> None:
    for file in (file for file in FILES if file.split("/")[0] == name):
        assert not any(each.split(".")[0] == "torch" for each in imports(file))


@pytest.mark.parametrize("file", FILES)
def test_files_hold_one_idea(file: str) -> None:
    assert len((PACKAGE / f"{file}.py").read_text().splitlines()) <= 350
