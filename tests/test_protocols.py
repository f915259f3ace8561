"""The file of a run that says what its values rest on: written whole, read back as tags, and believed no further than that."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.entities import RunTag

from bench.files import sha256
from bench.paths import Paths
from bench.score import Score
from bench.study.catalogue import Catalogue
from bench.study.definition import Trial
from bench.study.file import load
from bench.tracking import protocols, run_log
from bench.tracking.protocols import NAMED, facts_in, named_in, packed, unpacked
from bench.tracking.repair import damaged
from bench.tracking.rows import PROTOCOL, REASON, Record
from bench.tracking.run_log import RunLog
from bench.tracking.store import Store

SCORES = {"fid": Score(None, "no <weights>"), "psnr": Score(10.0, "", {"split": "test", "images": 9})}
TAGS = {
    "protocol.fid": "{}",
    "reason.fid": "no <weights>",
    "protocol.psnr": '{"images": 9, "split": "test"}',
    "reason.psnr": "",
}


@pytest.fixture
def trial(paths: Paths, known: Catalogue) -> Trial:
    return next(load(paths.study("smoke"), known).grid(known, {}))


@pytest.fixture
def store(paths: Paths) -> Store:
    return Store(paths.store, None, "smoke", "?", create=True)


def finish(store: Store, trial: Trial, scores: dict[str, Score]) -> Record:
    """The trial's run, measured once more where there is one."""
    record = store.records().get(trial.key)
    log = RunLog(store, trial, {}, record.run_id if record else "")
    log.start(1)
    log.finish(scores, {}, {}, 1)
    return store.records()[trial.key]


def kept(store: Store, run_id: str) -> dict[str, str]:
    """A run's tags as they stand in the store."""
    tags: dict[str, str] = store.client.get_run(run_id).data.tags
    return tags


def test_one_tag_names_a_file_for_every_metric(store: Store, trial: Trial) -> None:
    record = finish(store, trial, SCORES)
    tags = kept(store, record.run_id)
    assert not facts_in(tags)
    file = store.artifact(record.run_id, tags[NAMED])
    assert json.loads(file.read_text()) == {
        "fid": {"protocol": {}, "reason": "no <weights>"},
        "psnr": {"protocol": {"split": "test", "images": 9}, "reason": ""},
    }
    assert record.scores == SCORES
    row = store.table().iloc[0]
    assert {name: row[name] for name in TAGS} == TAGS


def test_what_is_measured_later_comes_to_what_was_there(
    store: Store, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = finish(store, trial, SCORES)
    before = kept(store, first.run_id)[NAMED]
    with monkeypatch.context() as killed:
        killed.setattr(run_log, "remove_others", lambda *_: None)
        later = finish(store, trial, {"fid": Score(3.0, "", {"split": "test"})})
    assert later.run_id == first.run_id
    assert later.scores == {**SCORES, "fid": Score(3.0, "", {"split": "test"})}
    assert kept(store, first.run_id)[NAMED] != before
    # Until the tag names the new file, the old one holds: it stands there still.
    store.client.set_tag(first.run_id, NAMED, before)
    assert store.records()[trial.key].scores["fid"].reason == "no <weights>"
    last = finish(store, trial, {"ssim": Score(0.5)})
    folder = store.artifact(last.run_id, "")
    assert [file.name for file in folder.glob("protocols-*")] == [kept(store, last.run_id)[NAMED]]


def test_a_run_of_an_earlier_version_is_read_and_measured_on(store: Store, trial: Trial) -> None:
    record = finish(store, trial, SCORES)
    store.client.delete_tag(record.run_id, NAMED)
    store.client.log_batch(record.run_id, tags=[RunTag(name, text) for name, text in TAGS.items()])
    assert store.records()[trial.key].scores == SCORES
    assert damaged(store.folder) == []
    assert finish(store, trial, {"ssim": Score(0.5)}).scores == {**SCORES, "ssim": Score(0.5)}
    # What the file says is what holds; the tags of before stay where they are.
    store.client.set_tag(record.run_id, "reason.fid", "as it was")
    assert store.records()[trial.key].scores["fid"].reason == "no <weights>"


def test_a_damaged_file_is_named_and_counts_as_not_measured(
    store: Store, trial: Trial, caplog: pytest.LogCaptureFixture
) -> None:
    record = finish(store, trial, SCORES)
    name = kept(store, record.run_id)[NAMED]
    file = store.artifact(record.run_id, name)
    whole = file.read_bytes()
    for content in (whole[:-1], whole.replace(b"9", b"8"), b""):
        file.write_bytes(content)
        protocols._read.cache_clear()  # as another process reads it
        with caplog.at_level(logging.WARNING):
            assert store.records()[trial.key].scores == {}
        assert f"{name} of run {record.run_id} is damaged (ValueError): it counts as not measured" in caplog.text
        assert ("smoke", f"{name} of latent_dim=2, seed 0, digits ({record.run_id})") in damaged(store.folder)
    assert finish(store, trial, SCORES).scores == SCORES
    assert damaged(store.folder) == []


def test_facts_that_are_none_are_not_believed(store: Store, trial: Trial, tmp_path: Path) -> None:
    """A store can come from anybody."""
    record = finish(store, trial, SCORES)
    folder = store.artifacts(record.run_id)
    (run,) = store.reader.named([record.run_id]).values()
    facts = [
        [],
        {"psnr": 1},
        {"psnr": {"protocol": {"images": [9]}, "reason": ""}},
        {"psnr": {"protocol": {}, "reason": 3}},
    ]
    for told in facts:
        content = json.dumps(told).encode()
        name = f"protocols-{sha256(content)[:16]}.json"
        (folder / name).write_bytes(content)
        found = unpacked(replace(run, tags={**run.tags, NAMED: name}), store.uri)
        assert not facts_in(found.tags)
    secret = tmp_path / "secret.json"
    secret.write_bytes(packed(TAGS)[1])
    for name in ("../../../secret.json", str(secret), "protocols-../../x.json", "protocols-0123.json", ""):
        assert named_in({NAMED: name}) == ""
        assert unpacked(replace(run, tags={NAMED: name}), store.uri).tags == {NAMED: name}


def test_packing_and_reading_are_inverse(store: Store, trial: Trial) -> None:
    name, content = packed({**TAGS, "state": "finished"})
    assert packed(dict(reversed(TAGS.items()))) == (name, content)
    assert named_in({NAMED: name}) == name
    record = finish(store, trial, SCORES)
    (run,) = store.reader.named([record.run_id]).values()
    assert facts_in(unpacked(run, store.uri).tags) == TAGS
    assert {text.partition(".")[0] + "." for text in TAGS} == {PROTOCOL, REASON}
