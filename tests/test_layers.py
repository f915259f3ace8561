"""Which room may import which: the architecture as a test."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "bench"

# What each file, or each file of a folder, may import of ours. A folder's own front door is its __init__.
ALLOWED = {
    "__init__": {"api"},  # when it is asked
    "__main__": {"cli/__init__"},
    "contract": {"errors", "subsets"},
    "errors": {"text"},
    "subsets": set(),
    "text": set(),
    "ranges": set(),
    "energy": set(),
    "memory": set(),
    "registry": {"text"},
    "paths": {"text"},
    "score": set(),
    "data": {"contract"},
    "seeds": set(),
    "files": set(),
    "databases": {"files"},
    "augmentation": set(),
    "cache": {"files", "memory", "text"},
    "images": set(),
    "source": {"ranges", "registry"},
    "closure": {"registry"},
    "study": {"errors", "paths", "ranges", "registry", "score", "source", "study", "text"},
    "study/catalogue": {"measure", "models/__init__", "registry", "score", "source", "study"},
    "networks": {"contract", "networks"},
    "batches": {"augmentation", "contract", "data", "ranges", "seeds", "subsets"},
    "models/__init__": {"contract", "registry"},
    "models": {"contract", "networks"},
    "datasets/__init__": {"contract", "datasets", "registry", "text"},
    "datasets/_code": {"contract", "datasets", "registry"},
    "datasets/_files": {"contract", "text"},
    "datasets/_images": {"contract", "datasets", "memory", "text"},
    "datasets/_folders": {"contract", "datasets", "text"},
    "datasets/_idx": {"memory"},
    "datasets/_npz": {"contract", "datasets", "memory", "text"},
    "datasets/_readers": {"cache", "contract", "datasets", "ranges", "text"},
    "datasets": {"contract", "datasets/__init__"},
    "features/__init__": set(),
    "features": {"batches", "cache", "contract", "data"},
    "measure": {
        "augmentation",
        "cache",
        "contract",
        "data",
        "features/__init__",
        "measure",
        "networks",
        "ranges",
        "registry",
        "score",
        "source",
        "subsets",
    },
    "metrics/__init__": set(),
    "metrics": {"contract", "data", "measure", "score", "training"},
    "optimizers": {"contract", "ranges", "registry"},
    "checkpoint": {"contract", "files", "memory", "optimizers", "seeds", "text"},
    "training": {"batches", "checkpoint", "contract", "data", "energy", "optimizers", "seeds"},
    "previews": {"contract", "data", "files", "images", "measure"},
    "applications/__init__": {"contract", "data", "ranges"},
    "applications": {
        "applications/__init__",
        "contract",
        "data",
        "datasets/__init__",
        "images",
        "measure",
        "networks",
        "ranges",
    },
    "checks": {
        "applications/__init__",
        "batches",
        "cache",
        "checks",
        "checks/__init__",
        "contract",
        "data",
        "datasets/__init__",
        "executors/__init__",
        "features/__init__",
        "measure",
        "metrics/__init__",
        "models/__init__",
        "optimizers",
        "paths",
        "registry",
        "run",
        "score",
        "source",
        "study",
        "training",
    },
    "templates": {
        "applications/__init__",
        "contract",
        "data",
        "datasets/__init__",
        "images",
        "measure",
        "networks",
        "score",
    },
    "executors": {"files", "study", "executors/__init__"},
    "executors/_job": {"executors/__init__", "files", "study"},
    "executors/_tied": {"executors"},
    "executors/submitit": {"executors", "executors/__init__", "files", "study"},
    "tracking": {"databases", "files", "images", "score", "study", "text", "tracking", "tracking/__init__"},
    "site": {"errors", "paths", "registry", "results", "site", "site/__init__", "study", "text", "tracking"},
    "report": {"closure", "files", "images", "report", "report/__init__", "score", "study", "text"},
    "run/queue_file": {"databases"},
    "run/queue": {"databases", "run", "score", "study", "text"},
    "run/proposals": {"run", "score", "study"},
    "run": {
        "applications/__init__",
        "batches",
        "checkpoint",
        "closure",
        "contract",
        "data",
        "datasets/__init__",
        "errors",
        "executors/__init__",
        "files",
        "images",
        "measure",
        "memory",
        "models/__init__",
        "optimizers",
        "paths",
        "previews",
        "ranges",
        "registry",
        "run",
        "score",
        "seeds",
        "study",
        "text",
        "tracking",
        "training",
    },
    "results": {"files", "paths", "registry", "report", "report/__init__", "run", "study", "tracking"},
    "comparison": {"images", "paths", "report", "score", "study", "tracking"},
    "api": {
        "contract",
        "files",
        "measure",
        "paths",
        "registry",
        "report",
        "report/__init__",
        "results",
        "run",
        "study",
        "tracking",
    },
    "cli": {
        "api",
        "applications/__init__",
        "checks/__init__",
        "cli",
        "comparison",
        "contract",
        "datasets/__init__",
        "errors",
        "executors/__init__",
        "features",
        "features/__init__",
        "files",
        "measure",
        "models/__init__",
        "networks",
        "optimizers",
        "paths",
        "previews",
        "registry",
        "results",
        "run",
        "score",
        "site",
        "source",
        "study",
        "text",
        "tracking",
    },
}
OWNERS = {
    "optuna": {"run/queue", "run/proposals"},
    "mlflow": {"tracking"},
    "click": {"cli"},
    "rich": {"cli"},
    "ray": {"executors"},
    "submitit": {"executors"},
    "pytorch_fid": {"features"},
    "sklearn": {"metrics"},
    "torchvision": {"datasets"},
    "matplotlib": {"report"},
    "starlette": {"tracking"},
    "uvicorn": {"tracking"},
    "pandas": {"api", "comparison", "report", "tracking"},
}
NO_TORCH = {
    "closure",
    "errors",
    "memory",
    "ranges",
    "source",
    "text",
    "study",
    "registry",
    "paths",
    "score",
    "report",
    "tracking",
    "run/command",
    "run/events",
    "run/outcome",
    "run/queue",
    "run/queue_file",
    "run/proposals",
    "executors",
}
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
        if (PACKAGE / parts[1]).is_dir():
            deeper = len(parts) > 2 and (PACKAGE / parts[1] / f"{parts[2]}.py").exists()
            found.add(parts[1] if deeper else f"{parts[1]}/__init__")
        elif (PACKAGE / f"{parts[1]}.py").exists():
            found.add(parts[1])
    return found


def room(file: str) -> str:
    """The name under which a file stands in ``ALLOWED``."""
    return file if file in ALLOWED else file.split("/")[0]


@pytest.mark.parametrize("file", FILES)
def test_imports_are_those_of_the_room(file: str) -> None:
    assert room(file) in ALLOWED, f"{file}: a room without a line in ALLOWED"
    own_door = {f"{file.split('/')[0]}/__init__"} if file.endswith("/__init__") else set()
    assert rooms(file) - own_door <= ALLOWED[room(file)]


@pytest.mark.parametrize("library", sorted(OWNERS))
def test_libraries_have_one_owner(library: str) -> None:
    owners = OWNERS[library]
    users = [file for file in FILES if any(name.split(".")[0] == library for name in imports(file))]
    assert all(file in owners or file.split("/")[0] in owners for file in users), users


@pytest.mark.parametrize("name", sorted(NO_TORCH))
def test_plain_rooms_do_without_torch(name: str) -> None:
    for file in (file for file in FILES if name in (file, file.split("/")[0])):
        assert not any(each.split(".")[0] == "torch" for each in imports(file))


@pytest.mark.parametrize("file", FILES)
def test_files_hold_one_idea(file: str) -> None:
    assert len((PACKAGE / f"{file}.py").read_text().splitlines()) <= 350
