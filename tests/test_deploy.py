"""What lies in ``deploy/``: read as those who use it read it."""

from __future__ import annotations

import importlib.resources
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
import yaml

from bench.cli.run import run_study
from bench.tracking.reach import check_address

DEPLOY = Path(__file__).parent.parent / "deploy"


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install -e '.[ray]'")
def test_the_cluster_is_one_that_ray_takes() -> None:
    import jsonschema  # comes with Ray

    config = yaml.safe_load((DEPLOY / "ray-cluster.yaml").read_text())
    jsonschema.validate(
        config, json.loads((importlib.resources.files("ray") / "autoscaler" / "ray-schema.json").read_text())
    )
    assert config["max_workers"] == len(config["provider"]["worker_ips"])
    commands = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    started = [line for line in commands if "ray start" in line]
    assert len(started) == 2
    assert all(line.startswith("RAY_AUTH_MODE=token ") for line in started)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_driver_under_slurm_is_a_script_whose_command_there_is() -> None:
    script = DEPLOY / "slurm-driver.sh"
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text().replace("\\\n", " ")
    (command,) = [line for line in text.splitlines() if "bench run study" in line]
    words = shlex.split(command.removesuffix("&"))[3:]
    given, rest, _ = run_study.make_parser(click.Context(run_study)).parse_args(words)
    assert (given["name"], given["executor"], rest) == ("$1", "submitit", [])
    directives = [line.split()[1].partition("=")[0] for line in text.splitlines() if line.startswith("#SBATCH")]
    assert "--signal" in directives


def test_what_is_composed_has_commands_that_there_are_and_passwords_from_outside_alone() -> None:
    composed = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = composed["services"]
    for service in services.values():
        needed = service.get("depends_on", [])
        assert set(needed) <= services.keys()
        waited = [name for name in needed if isinstance(needed, dict) and "healthy" in needed[name]["condition"]]
        assert all("healthcheck" in services[name] for name in waited)
        named = [each.partition(":")[0] for each in service.get("volumes", []) if not each.startswith("..")]
        assert set(named) <= composed["volumes"].keys()
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN", name):
                assert re.fullmatch(r"\$\{(PGPASSWORD|RAY_AUTH_TOKEN):\?[\w ]+\}", value)
    copied = re.findall(r"^ *COPY (.+) \S+$", composed["x-suite"]["build"]["dockerfile_inline"], re.MULTILINE)
    assert all((DEPLOY.parent / name).exists() for line in copied for name in line.split())
    extras = re.search(r"'\.\[(.+)\]'", composed["x-suite"]["build"]["dockerfile_inline"])
    assert extras
    assert (
        set(extras[1].split(","))
        <= tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys()
    )


@pytest.mark.filterwarnings(
    "ignore:.*Any type hint is inferred:UserWarning"
)  # of MLflow's own commands, when they are read
def test_what_is_composed_is_started_with_options_that_there_are() -> None:
    from mlflow.cli import server

    composed = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    words = shlex.split(composed["mlflow"]["command"])
    assert words[:2] == ["mlflow", "server"]
    given, rest, _ = server.make_parser(click.Context(server)).parse_args(words[2:])
    assert rest == []
    addresses = [given["backend_store_uri"], composed["head"]["environment"]["BENCH_STORAGE"]]
    for address in addresses:  # each a database of its own, of those that are made
        check_address("it", address)
    made = [composed["database"]["environment"]["POSTGRES_DB"], "queue"]
    assert [address.rpartition("/")[2] for address in addresses] == made
    host = composed["head"]["environment"]["MLFLOW_TRACKING_URI"].removeprefix("http://")
    assert host in given["allowed_hosts"].split(",")
    assert host.partition(":")[0] in composed
    if find_spec("ray") is not None:
        from ray.scripts.scripts import start

        for name in ("head", "node"):
            words = shlex.split(composed[name]["command"])
            assert words[:2] == ["ray", "start"]
            assert start.make_parser(click.Context(start)).parse_args(words[2:])[1] == []
