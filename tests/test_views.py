"""What MLflow's UI opens on: the saved views, the colours, and what runs and studies say of themselves."""

from __future__ import annotations

import base64
import io
import json
import logging
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.images import COLOURS
from bench.paths import Paths
from bench.results import present
from bench.score import Metric, Score
from bench.site.opening import make_ready
from bench.study.catalogue import Catalogue
from bench.study.definition import Failure, Study, Trial
from bench.study.file import load
from bench.tracking.run_log import RunLog
from bench.tracking.store import Store
from bench.tracking.views import VIEW, _colours, _quoted, group_colours, links, pictures_view, write_views
from bench.tracking.words import told

LOSSES = {0: 900.0, 1: 30.0, 2: 20.0}
PNG = io.BytesIO()
Image.fromarray(np.zeros((300, 300, 3), np.uint8)).save(PNG, format="PNG")
METRICS = [Metric("psnr", "higher"), Metric("fid", "lower"), Metric("test_loss", "lower")]


def finish(store: Store, trial: Trial, chosen: dict[str, Any], *, loss: float = 0.0, pictures: bool = True) -> RunLog:
    """A finished run of two epochs, whose loss falls by much in the first."""
    log = RunLog(store, trial, {})
    log.start(1)
    log.facts({}, chosen, {"sha256": "f" * 64})
    for epoch, value in LOSSES.items():
        drawn = {"samples": PNG.getvalue()} if pictures else {}
        log.epoch(epoch, {"test/loss": value + loss, "time/epoch_s": 0.5}, drawn, 1)
    log.finish({"test_loss": Score(20.0 + loss), "fid": Score(None, "no weights"), "psnr": Score(10.0)}, {}, {}, 1)
    return log


def test_a_view_that_is_longer_than_mlflow_takes_is_deflated_as_the_ui_reads_it(
    paths: Paths, study: Study, known: Catalogue
) -> None:
    """The leaderboard's fifteen systems have some forty loss terms between them, and a chart for each."""
    store = Store(paths.store, None, "smoke", study.question, create=True)
    log = RunLog(store, next(study.grid(known, {})), {})
    log.start(1)
    log.facts({}, {}, {"sha256": "f" * 64})
    for epoch in (0, 1):
        log.epoch(epoch, {f"test/term {number}": 1.0 * epoch for number in range(60)}, {}, 1)
    log.finish({}, {}, {}, 1)
    write_views(store, METRICS, known.chosen)
    (state,) = (
        json.loads(text)["state"] for tag, text in tags(store).items() if tag.startswith(VIEW) and "variants" in tag
    )
    prefix, _, content = state.partition(";")
    assert prefix == "deflate"
    charts = json.loads(zlib.decompress(base64.b64decode(content)))["compareRunCharts"]
    assert sum("term 59" in json.dumps(chart) for chart in charts) == 1


@pytest.fixture
def study(paths: Paths, known: Catalogue) -> Study:
    return load(paths.study("smoke"), known)


@pytest.fixture
def store(paths: Paths, study: Study, known: Catalogue) -> Store:
    """Two variants, two seeds."""
    store = Store(paths.store, None, "smoke", study.question, create=True)
    for number, trial in enumerate(study.grid(known, {})):
        finish(store, trial, {**known.chosen(trial), "parameters": 9}, loss=float(number))
    return store


def tags(store: Store) -> dict[str, str]:
    found: dict[str, str] = store.client.get_experiment(str(store.experiment_id)).tags
    return found


def view(store: Store, name: str) -> dict[str, Any]:
    """A saved view's state, as the UI reads it."""
    kept = json.loads(tags(store)[f"{VIEW}{name}"])
    assert isinstance(kept["createdAt"], int)  # without which the UI shows none of them
    state: dict[str, Any] = json.loads(kept["state"])
    charts = state["compareRunCharts"]
    assert len({chart["uuid"] for chart in charts}) == len(charts)
    assert {chart["metricSectionId"] for chart in charts} == {each["uuid"] for each in state["compareRunSections"]}
    return state


def ids(store: Store, dataset: str) -> list[str]:
    """What a data set's views are called in the links to them."""
    return [link.path.rpartition("viewStateShareKey=")[2] for link in links(store, dataset)]


def shown(state: dict[str, Any], section: int) -> list[dict[str, Any]]:
    """The charts of a section, in their order."""
    uuid = state["compareRunSections"][section]["uuid"]
    return [each for each in state["compareRunCharts"] if each["metricSectionId"] == uuid and not each["deleted"]]


def test_one_view_compares_variants_and_the_objective_leads_it(store: Store) -> None:
    assert write_views(store, METRICS, lambda trial: {})
    state = view(store, "variants-digits")
    assert state["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "variant"}]
    assert state["compareRunSections"][0]["name"] == "psnr (↑ higher is better), and what else was asked"
    # What was measured of nothing has no bar.
    assert [chart["metricKey"] for chart in shown(state, 0)] == ["final/psnr", "final/test_loss"]
    (curve,) = shown(state, 1)
    assert curve["metricKey"] == "test/loss"
    # From epoch 1 on: of 20 to 33, with a twentieth of that on either side; epoch 0 would take it to 900.
    assert curve["range"] == {"xMin": 1, "xMax": 2, "yMin": pytest.approx(19.35), "yMax": pytest.approx(33.65)}
    assert curve["lineSmoothness"] == state["globalLineChartConfig"]["lineSmoothness"] == 0  # the UI's own is not
    assert [section["display"] for section in state["compareRunSections"]] == [True, True, False]


def test_one_view_shows_the_pictures_of_the_last_epoch_from_one_seed(store: Store) -> None:
    write_views(store, METRICS, lambda trial: {})
    state = view(store, "pictures-digits")
    assert state["searchFilter"] == "params.seed = '0'"
    assert state["groupBy"] is None  # under which the UI shows no picture
    (chart,) = shown(state, 0)
    assert (chart["imageKeys"], chart["step"], chart["showRunParams"]) == (["images/samples"], 2, False)
    assert state["compareRunSections"][0]["cardHeight"] == 400
    one = next(each for each in store.records().values() if each.trial.seed == 0)
    for variants, height in (
        (1, 400),
        (3, 700),
        (9, 1000),
    ):  # two beside one another; a card hides what it has no room for
        many = pictures_view([one] * variants, 0, store.curves([]), {("images/samples", 2)})
        assert many["compareRunSections"][0]["cardHeight"] == height
    found = store.client.search_runs([str(store.experiment_id)], state["searchFilter"])
    assert {run.data.tags["variant"] for run in found} == {"latent_dim=2", "latent_dim=3"}
    # Every curve and bar that the UI would add by itself is there, and is not shown.
    hidden = {each["metricKey"] for each in state["compareRunCharts"] if each["deleted"]}
    assert hidden >= {"test/loss", "time/epoch_s", "final/test_loss", "final/psnr"}


def searched(study: Study, known: Catalogue, seed: int, split: str, latent_dim: int) -> Trial:
    """A trial of a search, which proposes on one split and confirms on another."""
    trial = replace(next(study.grid(known, {})), seed=seed, variant=f"latent_dim={latent_dim}")
    data = {**trial.settings["data"], "validation": split == "validation"}
    params = {**trial.settings["params"], "latent_dim": latent_dim}
    return replace(trial, settings={**trial.settings, "data": data, "params": params})


@pytest.mark.parametrize(("objective", "rises"), [("test_loss", True), ("psnr", False)])
def test_a_search_shows_what_it_confirmed_and_the_best_first(
    objective: str, rises: bool, paths: Paths, study: Study, known: Catalogue
) -> None:
    """Its bars were means of what one configuration came to on two splits, and its pictures those of a run that had none."""
    store = Store(paths.store, None, "smoke", study.question, create=True)
    metrics = sorted(METRICS, key=lambda metric: metric.name != objective)
    proposed = [searched(study, known, 0, "validation", latent_dim) for latent_dim in (4, 5, 6)]
    for trial in proposed:
        finish(store, trial, {}, pictures=False)
    write_views(store, metrics, lambda trial: {})
    assert view(store, "variants-digits")["searchFilter"] == ""  # there is one split alone
    running = RunLog(store, searched(study, known, 1, "test", 4), {})
    running.start(1)
    write_views(store, metrics, lambda trial: {})
    assert view(store, "variants-digits")["searchFilter"] == "tags.split = 'validation'"
    finish(store, searched(study, known, 1, "test", 6), {}, pictures=False)
    for latent_dim in (4, 5):
        finish(store, searched(study, known, 2, "test", latent_dim), {})
    write_views(store, metrics, lambda trial: {})
    variants, pictures = view(store, "variants-digits"), view(store, "pictures-digits")
    assert variants["searchFilter"] == "tags.split = 'test'"
    assert variants["groupsExpanded"].keys() == {f"tag.variant.latent_dim={n}" for n in (4, 5, 6)}
    assert pictures["searchFilter"] == "tags.split = 'test' and params.seed = '2'"  # the first that drew
    assert pictures["compareRunSections"][0]["name"] == "What it draws after epoch 2, seed 2"
    for state in (variants, pictures):
        assert state["orderByKey"] == f"metrics.`final/{objective}`"
        assert store.client.search_runs(  # as the UI asks for them
            [str(store.experiment_id)], state["searchFilter"], order_by=[f"{state['orderByKey']} ASC"]
        )
    # Bars stand below one another from the first run on, pictures the other way round.
    assert (variants["orderByAsc"], pictures["orderByAsc"]) == (rises, not rises)


def test_a_picture_whose_run_has_a_long_name_has_a_row_of_its_own(store: Store) -> None:
    """The UI makes it as wide as the name; a card hides what it has no room for."""
    one = next(each for each in store.records().values() if each.trial.seed == 0)
    long = replace(one, trial=replace(one.trial, variant="latent_dim=9 hidden_dims=512 learning_rate=0.0052"))
    state = pictures_view([long, one], 0, store.curves([]), {("images/samples", 2)})
    assert state["compareRunSections"][0]["cardHeight"] == 100 + 2 * 550


def test_every_variant_has_a_colour_and_its_runs_and_groups_have_it(store: Store) -> None:
    write_views(store, METRICS, lambda trial: {})
    expected = {"latent_dim=2": COLOURS[0], "latent_dim=3": COLOURS[1]}
    for run in store.client.search_runs([str(store.experiment_id)]):
        assert run.data.tags["mlflow.runColor"] == expected[run.data.tags["variant"]]
    assert group_colours(store) == {f"tag.variant.{name}": colour for name, colour in expected.items()}


def test_no_two_of_many_variants_have_one_colour() -> None:
    for n in (1, 7, 8, 40):
        colours = _colours(n)
        assert len(set(colours)) == n
        assert all(len(colour) == 7 and int(colour[1:], 16) >= 0 for colour in colours)


def test_views_are_written_again_where_runs_have_come_and_only_there(
    store: Store, study: Study, known: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert write_views(store, METRICS, known.chosen)
    before = set(tags(store))
    monkeypatch.setattr(store.client, "set_experiment_tag", None)
    monkeypatch.setattr(store.client, "log_batch", None)
    assert not write_views(store, METRICS, known.chosen)
    monkeypatch.undo()
    finish(store, replace(next(study.grid(known, {})), dataset="fashion's"), {})
    assert write_views(store, METRICS, known.chosen)
    assert set(tags(store)) - before == {f"{VIEW}{name}" for name in ids(store, "fashion's")}
    for dataset in ("digits", "fashion's"):  # of two, every view keeps to its own
        for name in ids(store, dataset):
            found = store.client.search_runs([str(store.experiment_id)], view(store, name)["searchFilter"])
            assert {run.data.tags["dataset"] for run in found} == {dataset}


def test_a_filter_takes_either_kind_of_quotes() -> None:
    assert [_quoted("a"), _quoted("it's")] == ["'a'", '"it\'s"']


def test_runs_of_earlier_versions_get_names_notes_and_colours(store: Store, paths: Paths, known: Catalogue) -> None:
    runs = store.client.search_runs([str(store.experiment_id)], order_by=["attributes.start_time"])
    trials = [Trial.from_dict(json.loads(run.data.tags["trial"])) for run in runs]
    for run, trial in zip(runs, trials, strict=True):
        store.client.update_run(run.info.run_id, name=trial.name)
        store.client.delete_tag(run.info.run_id, "mlflow.note.content")
    store.client.update_run(runs[0].info.run_id, name="my favourite")
    store.client.set_tag(runs[1].info.run_id, "trial", "no JSON")
    make_ready(paths, known, store)
    now = [store.client.get_run(run.info.run_id) for run in runs]
    words = [f"{trial.variant}, seed {trial.seed}, digits" for trial in trials]
    assert [run.info.run_name for run in now] == ["my favourite", trials[1].name, *words[2:]]
    assert "mlflow.note.content" not in now[1].data.tags  # nobody knows what it was of
    for run in (now[0], *now[2:]):
        assert "Other than by default: latent_dim = " in run.data.tags["mlflow.note.content"]


def test_a_study_says_its_question_and_what_was_found(store: Store, study: Study, known: Catalogue) -> None:
    assert told(store).question == "Does it run?"
    assert told(store).answer == ""
    present(study, known, store, "It *does*.")
    assert told(store).answer == "It *does*."
    note = tags(store)["mlflow.note.content"]
    assert note == "**Does it run?** It \\*does\\*. [Report](reports/smoke/) · [All studies](.)"
    Store(store.folder, None, "smoke", "Does it run?", create=True)  # as the next driver does
    assert tags(store)["mlflow.note.content"] == note
    Store(store.folder, None, "smoke", "Another question?", create=True)
    assert tags(store)["mlflow.note.content"] == "Another question?"


def test_what_the_runs_tell_is_told_of_a_store_of_an_earlier_version(
    store: Store, paths: Paths, known: Catalogue
) -> None:
    file = paths.study("smoke")
    claim = {"text": "a wider one loses less", "where": "nowhere", "metric": "test_loss", "order": "falls"}
    lines = ["[[claims]]", *(f"{name} = {json.dumps(value)}" for name, value in claim.items())]
    file.write_text("\n".join((file.read_text(), *lines)))
    make_ready(paths, known, store)
    assert told(store).answer.startswith("It does not hold on digits that a wider one loses less (")


def test_a_store_that_cannot_be_written_is_shown_as_it_is(
    store: Store, paths: Paths, known: Catalogue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: object) -> None:
        raise OSError("attempt to write a readonly database")

    monkeypatch.setattr(store.client, "set_experiment_tag", refuse)
    with caplog.at_level(logging.WARNING):
        make_ready(paths, known, store)
    assert "smoke is shown as it is: " in caplog.text
    assert "readonly database" in caplog.text


def test_a_failed_run_says_so_in_its_note(store: Store, study: Study, known: Catalogue) -> None:
    trial = replace(next(study.grid(known, {})), seed=7)
    log = RunLog(store, trial, {})
    log.start(1)
    log.facts({}, {}, {"sha256": "f" * 64})
    log.fail(Failure("diverged", "loss is *nan* after epoch 3"))
    note = store.client.get_run(log.run_id).data.tags["mlflow.note.content"]
    assert note.startswith("**diverged**: loss is \\*nan\\* after epoch 3\n\nvae in the study smoke")
