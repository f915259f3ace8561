"""The pages and the project's own papers: what they name exists, and what two of them say is the same."""

from __future__ import annotations

import datetime
import os
import re
import tomllib
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from bench import __version__, registry
from bench.report.illustrations import CURVES, titles
from bench.study.catalogue import Catalogue
from bench.study.file import load

ROOT = Path(__file__).parent.parent
PAPERS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
PAGES = [*(ROOT / name for name in PAPERS), *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = (ROOT / "docs" / "sources.md").read_text()
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def text_of(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What a link can name behind a ``#``: the headings, as hosts of Markdown spell them."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def documents(text: str) -> set[str]:
    """The source documents that a text cites: "document 004", "Documents 000 and 001"."""
    cited = re.findall(r"[Dd]ocuments?\s+((?:00\d(?:,\s|\sand\s|\sto\s)?)+)", text)
    return set(re.findall(r"00\d", " ".join(cited)))


def studies() -> set[str]:
    """The studies that come with the package."""
    return {file.stem for file in (ROOT / "studies").glob("*.toml")}


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path) if path else page
        assert place.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(place), f"{page.name} links to {target}"


@pages
def test_files_that_are_named_exist(page: Path) -> None:
    for span in re.findall(r"`([^`\n]+)`", text_of(page)):
        for path in re.findall(r"(?<![\w/.])(?:bench|tests|docs|perf|studies)/[\w./-]*\w", span):
            yours = "<" in span or Path(path).stem in ("mine", "shapes")  # as the pages call what a reader writes
            assert yours or (ROOT / path).exists(), f"{page.name} names {path}"


def test_the_readme_is_a_page_and_pictures_are_shown_and_small() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 70
    pictures = set((ROOT / "docs" / "pictures").iterdir())
    shown = {page.parent / name for page in PAGES for name in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text_of(page))}
    assert pictures <= shown
    assert all(picture.stat().st_size < 250_000 for picture in pictures)


def test_every_page_is_on_the_way_from_the_readme() -> None:
    found, pages = {ROOT / "README.md"}, [ROOT / "README.md"]
    for page in pages:
        for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", text_of(page)):
            there = (page.parent / target).resolve()
            if there.suffix == ".md" and there.is_relative_to(ROOT / "docs") and there not in found:
                found.add(there)
                pages.append(there)
            found |= {there}
    assert {*(ROOT / "docs").glob("*.md"), ROOT / "docs" / "python.ipynb", ROOT / "CITATION.cff"} <= found


def test_every_document_that_is_cited_is_described() -> None:
    described = set(re.findall(r"^## Document (00\d)$", SOURCES, re.MULTILINE))
    assert described == {"000", "001", "002", "003", "004"}
    files = chain((ROOT / "bench").rglob("*.py"), (ROOT / "studies").glob("*.toml"), PAGES)
    for file in files:
        assert documents(file.read_text()) <= described, file
    cited = set().union(*(documents(file.read_text()) for file in (ROOT / "bench").rglob("*.py")))
    assert cited == described


def test_every_study_of_a_document_is_on_its_page() -> None:
    for study in sorted(studies()):
        source = tomllib.loads((ROOT / "studies" / f"{study}.toml").read_text())["source"]
        parts = re.split(r"^## ", SOURCES, flags=re.MULTILINE)
        sections = [part for part in parts if part.startswith(tuple(f"Document {n}" for n in documents(source)))]
        sections = sections or [part for part in parts if part.startswith("In no document")]
        assert any(f"`{study}`" in part for part in sections), study


def test_commands_on_the_page_of_sources_name_what_there_is() -> None:
    commands = re.findall(r"`bench ([^`]+)`", SOURCES)
    assert commands
    for command in commands:
        match command.split():
            case ["run", "study", name, *options]:
                assert name in studies()
            case ["run", "trial", name, *options]:
                assert name in registry.names("models")
            case ["show", "model", name, *options]:
                assert name in registry.names("models")
            case ["apply", name, *options]:
                assert name in registry.names("applications")
            case ["ui"]:
                options = []
            case _:
                pytest.fail(f"bench {command}")
        for flag, value in pairwise(options):
            assert flag != "--dataset" or value in registry.names("datasets"), command


def test_reports_on_the_page_of_sources_are_those_that_are_written(known: Catalogue) -> None:
    named = re.findall(r"reports/(\w+)/([a-z0-9]+)-test-([\w.]+)", SOURCES)
    assert named
    for study, dataset, picture in named:
        assert study in studies()
        assert dataset in registry.names("datasets")
        assert picture in {CURVES, *titles(load(ROOT / "studies" / f"{study}.toml", known))}


def pins() -> dict[str, Version]:
    """``constraints.txt`` by name."""
    found: dict[str, Version] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, version = line.split("==")
            found[canonicalize_name(name)] = Version(version)
    return found


def requirements() -> list[Requirement]:
    """What ``pyproject.toml`` asks for, extras included."""
    extras = PROJECT["project"]["optional-dependencies"]
    return [Requirement(text) for text in chain(PROJECT["project"]["dependencies"], *extras.values())]


def test_constraints_are_sorted_and_within_the_ranges_of_the_project() -> None:
    pinned = pins()
    assert list(pinned) == sorted(pinned)
    needed = {"dependencies": PROJECT["project"]["dependencies"], **PROJECT["project"]["optional-dependencies"]}
    for text in chain.from_iterable(needed.values()):
        name = canonicalize_name(Requirement(text).name)
        assert name in {"bench", *pinned}, (
            f"{text} has no version in constraints.txt"
        )  # its own extras stand by themselves
    for requirement in requirements():
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is None or version in requirement.specifier, f"{requirement}, and constraints.txt has {version}"


def pythons() -> list[str]:
    """The Python versions within ``requires-python``."""
    wanted = SpecifierSet(PROJECT["project"]["requires-python"])
    return [f"3.{minor}" for minor in range(100) if f"3.{minor}.0" in wanted]


def test_the_workflow_runs_what_must_pass_on_every_python() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == pythons()
    steps = job["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    assert job["env"]["PIP_CONSTRAINT"] == "${{ github.workspace }}/constraints.txt"


def test_the_classifiers_say_the_same() -> None:
    classifiers = PROJECT["project"]["classifiers"]
    named = [each.rpartition(" ")[2] for each in classifiers if each.startswith("Programming Language :: Python :: 3.")]
    assert named == pythons()
    assert "Operating System :: POSIX" in classifiers
    assert "Typing :: Typed" in classifiers
    assert (ROOT / "bench" / "py.typed").read_text() == ""


def test_hooks_are_tools_of_the_project() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repository["repo"] for repository in hooks["repos"]] == ["local"]
    tools = {Path(hook["entry"].split()[0]) for hook in hooks["repos"][0]["hooks"]}
    assert {tool.parent for tool in tools} == {Path(".venv/bin")}
    assert {tool.name for tool in tools} <= {Requirement(text).name for text in extra("test")}


def extra(name: str) -> list[str]:
    """The requirements of an extra."""
    found: list[str] = PROJECT["project"]["optional-dependencies"][name]
    return found


def test_the_citation_is_one() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)  # what the format asks for, beside its version
    assert all(author["name"].strip() for author in citation["authors"])
    assert citation["version"] == __version__ == PROJECT["project"]["version"]
    assert citation["license"] == PROJECT["project"]["license"]
    assert [author["name"] for author in citation["authors"]] == [a["name"] for a in PROJECT["project"]["authors"]]
    assert isinstance(citation["date-released"], datetime.date)


def test_the_changelog_leads_to_the_version_that_is_cited() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert heads[0] == "[Unreleased]"
    assert heads[1] == f"[{__version__}] - {citation['date-released']}"
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
