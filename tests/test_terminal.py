"""What a terminal shows: lines that keep their shape at every width, times that are left, and what to do next."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import bench.cli.progress as progress
from bench.checkpoint import Progress
from bench.cli.layout import cells, cut, described, reflowed, roomy, table, wrapped
from bench.cli.remaining import Remaining, clock
from bench.run.events import Epoch, Event, Finished, Started
from bench.run.plan import Plan
from bench.score import Score
from bench.study.catalogue import Catalogue
from bench.study.definition import Failure, Trial
from bench.study.file import build

WIDTHS = [40, 60, 80, 100, 120, 200]
widths = pytest.mark.parametrize("width", WIDTHS)
LONG = "a variant with a name that is longer than any terminal has room for " * 3


@pytest.fixture
def trials(known: Catalogue) -> list[Trial]:
    """Ten epochs each: two configurations, three seeds."""
    tables = {
        "question": "?",
        "source": "none",
        "model": "vae",
        "datasets": ["digits"],
        "seeds": 3,
        "metrics": ["test_loss"],
        "training": {"epochs": 10},
        "variants": [{"name": LONG[:90]}, {"name": "short", "params": {"latent_dim": 3}}],
    }
    return list(build(tables, Path("studies/x.toml"), known).grid(known, {}))


def plan(trials: list[Trial], **more: object) -> Plan:
    return replace(Plan(list(trials), set(), {}, {}, 0, {}), **more)  # type: ignore[arg-type]


def epoch(number: int, past: bool = False) -> Epoch:
    """Three terms, of which one is the loss that is descended."""
    terms = {"reconstruction": 90.0, "kl": 14.5, "loss": 104.5}
    return Epoch(Progress(number, {}, {}, terms, 1.0, 12_345.6 * (number > 0), 1.0, past=past), {})


class TestLayout:
    def test_wide_letters_fill_two_cells(self) -> None:
        assert cells("ab") == 2
        assert cells("多重") == 4
        assert cells("e\u0301") == 1
        assert cut("多重星系", 5) == "多重…"
        assert cut("abc", 3) == "abc"
        assert cut("abcd", 3) == "ab…"

    @widths
    def test_no_line_of_a_table_is_wider_than_the_terminal(self, width: int) -> None:
        rows = [("run", "setting", "value"), ("0" * 8, LONG, "多" * 70), ("1" * 8, "x", "y")]
        lines = table(rows, width)
        assert len(lines) == 3
        assert max(map(cells, lines)) <= width
        assert all(line.startswith(("  run", "  0", "  1")) for line in lines)

    def test_without_a_terminal_nothing_is_cut(self) -> None:
        assert LONG.strip() in table([("a", LONG)], None)[0]
        assert described([("a", LONG)], None) == [f"  a  {LONG.strip()}"]

    @widths
    def test_a_table_goes_without_what_is_spare_before_anything_is_cut(self, width: int) -> None:
        columns = {
            "run": ["1f5ba4c4"],
            "learning_rate": ["1"],
            "b": ["x" * 20],
            "c": ["y" * 20],
            "test_loss": ["247.3"],
        }
        lines = roomy(columns, ["c", "b"], ["run", "test_loss"], width)
        assert max(map(cells, lines)) <= width
        assert "1f5ba4c4" in lines[-2] + lines[-1]
        assert "247.3" in lines[-2] + lines[-1]
        assert not any("…" in line for line in lines)
        assert ("learning_" in lines[0].split()) == ("rate" in lines[1].split())  # broken behind the sign, in two lines

    @widths
    def test_sentences_are_wrapped_beside_their_names_and_lose_no_word(self, width: int) -> None:
        names = ("alpha", "bench", "n", "studies/x.toml", "short")
        lines = described([(*names[:2], LONG), names[2:]], width)
        assert max(map(cells, lines)) <= width
        words = " ".join(lines).split()
        assert [word for word in words if word not in names] == LONG.split()
        assert len(described([("alpha", LONG), ("n", "short")], width, wrap=False)) == 2

    def test_a_docstring_is_broken_anew_where_its_lines_are_full(self) -> None:
        full = "word " * 24 + "end"
        text = f"First line.\n\none: what one is\ntwo: what two is\n\n{full}\ngoes on here.\n* an item\n{full}\nthree: more"
        assert reflowed(text, None) == text.splitlines()
        lines = reflowed(text, 60)
        assert lines[:5] == ["First line.", "", "one: what one is", "two: what two is", ""]
        assert max(map(len, lines)) <= 60
        assert " ".join(lines[5 : lines.index("* an item")]) == f"{full} goes on here."
        assert lines[-1] == "three: more"

    def test_a_word_that_can_be_copied_stays_whole(self) -> None:
        url = "https://example.org/" + "a" * 100
        assert url in wrapped(f"from {url} into data", 40)[1]


class TestRemaining:
    """Two seconds an epoch, four for the measures after the last one."""

    def test_a_trial_by_its_own_epochs(self, trials: list[Trial]) -> None:
        remaining = Remaining(plan(trials[:1]))
        running = remaining.begin(trials[0], 0.0)
        remaining.passed(trials[0], 0, 3.0)
        assert remaining.of(running, 3.0) is None  # epoch 0 trains nothing
        remaining.passed(trials[0], 1, 5.0)
        assert remaining.of(running, 5.0) == pytest.approx(9 * 2.0)
        assert remaining.of(running, 6.0) == pytest.approx(17.0)
        assert remaining.of(running, 65.0) == pytest.approx(8 * 60.0)  # the second is not over after a minute

    def test_the_study_from_the_first_epoch_on(self, trials: list[Trial]) -> None:
        remaining = Remaining(plan(trials), slots=2)
        assert remaining.total == 6
        assert remaining.of_all(0.0) is None
        for trial in trials[:2]:
            remaining.begin(trial, 0.0)
            remaining.passed(trial, 0, 1.0)
        assert remaining.of_all(1.0) is None
        remaining.passed(trials[0], 1, 3.0)
        # The first has 9 epochs left, the other 10, two of whose seconds have gone by; then four of ten, two on each.
        assert remaining.of_all(3.0) == pytest.approx(18.0 + 40.0)

    def test_what_follows_the_last_epoch_counts_once_it_was_seen(self, trials: list[Trial]) -> None:
        remaining = Remaining(plan(trials[:2]))
        for number in range(11):
            remaining.passed(trials[0], number, 2.0 * number)
        remaining.end(trials[0], 24.0)
        assert remaining.of_all(24.0) == pytest.approx(10 * 2.0 + 4.0)

    def test_epochs_that_are_told_again_took_no_time(self, trials: list[Trial]) -> None:
        remaining = Remaining(plan(trials[:1]))
        for number in range(5):
            remaining.passed(trials[0], number, 0.1, told_again=True)
        running = remaining.passed(trials[0], 5, 2.1)
        assert remaining.of(running, 2.1) == pytest.approx(5 * 2.0)

    def test_earlier_runs_tell_before_anything_has_begun(self, trials: list[Trial]) -> None:
        remaining = Remaining(plan(trials, seconds={trial.key: 30.0 for trial in trials}), slots=3)
        assert remaining.of_all(0.0) == pytest.approx(60.0)
        running = remaining.begin(trials[0], 0.0)
        assert remaining.of(running, 10.0) == pytest.approx(20.0)

    def test_a_failed_trial_that_begins_again_is_one_trial(self, trials: list[Trial]) -> None:
        remaining = Remaining(plan(trials[:2]))
        remaining.begin(trials[0], 0.0)
        remaining.end(trials[0], 1.0, whole=False)
        assert remaining.ended == {trials[0].key}
        remaining.begin(trials[0], 2.0)
        assert not remaining.ended
        assert remaining.total == 2

    def test_a_search_counts_what_it_is_yet_to_propose_and_to_confirm(self, trials: list[Trial]) -> None:
        remaining = Remaining(plan([], proposals=20, tried=5, confirmations=4))
        assert remaining.total == 19
        for number in range(11):
            remaining.passed(trials[0], number, 2.0 * number)
        remaining.end(trials[0], 24.0)
        assert remaining.of_all(24.0) == pytest.approx(18 * 24.0)
        remaining.plan.confirm(trials[1:3], {})
        assert remaining.total == 17

    def test_clocks(self) -> None:
        assert [clock(seconds) for seconds in (None, 0, 59.6, 125, 3723)] == ["", "0:00", "1:00", "2:05", "1:02:03"]


class Screen:
    """A display on a terminal of ``width`` cells, whose clock is turned by hand."""

    def __init__(
        self, trials: list[Trial], width: int, monkeypatch: pytest.MonkeyPatch, *, terminal: bool = True
    ) -> None:
        self.seen, self.time = io.StringIO(), 0.0
        console = Console(file=self.seen, force_terminal=terminal, width=width, emoji=False)
        monkeypatch.setattr(progress, "Console", lambda **_: console)
        self.display = progress.Display(plan(trials), "study", 2, now=lambda: self.time)

    def show(self, trial: Trial, *events: Event) -> None:
        for event in events:
            self.time += 2.0
            self.display.show(trial, event)

    @property
    def bars(self) -> list[str]:
        """The lines of the study and of what runs."""
        return [line.plain for line in self.display._render().renderables]  # type: ignore[union-attr]


class TestDisplay:
    @widths
    def test_lines_keep_their_shape(self, trials: list[Trial], width: int, monkeypatch: pytest.MonkeyPatch) -> None:
        screen = Screen(trials, width, monkeypatch)
        first = screen.bars
        assert len(first) == 1
        for trial in trials[:2]:
            screen.show(trial, Started(1, {}, {}), epoch(0), epoch(1))
        before = screen.bars
        for trial in trials[:2]:
            screen.show(trial, epoch(2), epoch(3))
        after = screen.bars
        for lines in (before, after):
            assert len(lines) == 3
            assert len({cells(line) for line in lines}) == 1  # one shape for all
            assert cells(lines[0]) <= width
        assert cells(before[0]) == cells(after[0])
        assert after[0].startswith("study")
        assert "0/6" in after[0]

    @pytest.mark.parametrize(("width", "words"), [(80, ["3/10", "0:14"]), (120, ["epoch 3/10", "0:14 left"])])
    def test_a_worker_s_line_has_one_loss_its_speed_and_what_is_left(
        self, trials: list[Trial], width: int, words: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        screen = Screen(trials, width, monkeypatch)
        screen.show(trials[1], Started(1, {}, {}), *map(epoch, range(4)))
        line = screen.bars[1]
        assert line.split("  ")[0] == "short, seed 0, digits"
        for word in ("loss 104.5", "12,346 img/s", *words):
            assert word in line
        assert "kl" not in line
        screen.show(trials[1], *map(epoch, range(4, 11)))
        assert "measuring" in screen.bars[1]

    def test_a_name_keeps_its_seed_before_a_bar_grows(self, known: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
        """In 80 columns: a third of the room was the bar's, and trials of one variant were told alike."""
        tables = {"question": "?", "source": "none", "model": "vae", "datasets": ["digits"], "metrics": ["test_loss"]}
        study = build({**tables, "seeds": 2, "vary": {"latent_dim": [10]}}, Path("studies/x.toml"), known)
        screen = Screen(list(study.grid(known, {})), 80, monkeypatch)
        for trial in study.grid(known, {}):
            screen.show(trial, Started(1, {}, {}), *map(epoch, range(4)))
        assert [line.partition("seed ")[2][0] for line in screen.bars[1:]] == ["0", "1"]

    def test_the_study_s_time_is_there_from_the_first_epoch_on(
        self, trials: list[Trial], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        screen = Screen(trials[:2], 120, monkeypatch)
        screen.show(trials[0], Started(1, {}, {}), epoch(0))
        assert "left" not in screen.bars[0]
        screen.show(trials[0], epoch(1))
        assert "0:20 left" in screen.bars[0]  # the other trial, beside this one: ten epochs of two seconds

    @widths
    def test_results_and_failures_are_told_when_they_come(
        self, trials: list[Trial], width: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        screen = Screen(trials, width, monkeypatch)
        scores = {f"metric_{number}": Score(1.5) for number in range(20)}
        screen.show(trials[1], Started(1, {}, {}), epoch(0), Finished({"test_loss": Score(104.5), **scores}, {}))
        (line,) = screen.seen.getvalue().splitlines()
        assert cells(line) <= width
        name = "short, seed 0, digits" if width > 40 else "short, seed 0, …"
        assert line.startswith(f"{name}  finished: test_loss 104.5"[: width - 1])
        screen.show(trials[0], Started(1, {}, {}), epoch(0), Finished({"test_loss": Score(104.5)}, {}))
        line = screen.seen.getvalue().splitlines()[-1]
        assert cells(line) <= width
        assert line.startswith("a variant w")
        assert width == 40 or "finished: test_loss 104.5" in line  # a name is cut, the result is not
        screen.show(trials[3], Started(1, {}, {}), Failure("diverged", f"loss is nan in epoch 3 {'x' * 100} end"))
        assert screen.seen.getvalue().rstrip("\n\x1b[0m").endswith("end")
        assert "3/6" in screen.bars[0]
        assert width < 60 or "1 failed" in screen.bars[0]
        screen.display.given_up(trials[5])
        assert "given up: it lies behind the others" in screen.seen.getvalue() or width < 60
        assert "4/6" in screen.bars[0]

    def test_without_a_terminal_each_milestone_is_a_whole_line(
        self, trials: list[Trial], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        screen = Screen(trials[:2], 80, monkeypatch, terminal=False)
        with screen.display:
            screen.show(
                trials[1], Started(1, {}, {}), *map(epoch, range(11)), Finished({"test_loss": Score(104.5)}, {})
            )
        lines = screen.seen.getvalue().splitlines()
        milestones = [line for line in lines if "epoch" in line]
        assert [line.split("epoch ")[1].split("/")[0] for line in milestones] == ["0", "1", "2", "5", "10"]
        assert milestones[1] == "short, seed 0, digits  epoch 1/10  test: reconstruction 90  kl 14.5  loss 104.5"
        assert lines[-1] == "short, seed 0, digits  finished: test_loss 104.5  (1/2, 0:22 left)"

    def test_a_terminal_is_left_as_it_was(self, trials: list[Trial], monkeypatch: pytest.MonkeyPatch) -> None:
        screen = Screen(trials, 80, monkeypatch)
        with screen.display:
            screen.show(trials[0], Started(1, {}, {}), epoch(0), epoch(1))
        assert screen.seen.getvalue().endswith(("\x1b[2K", "\x1b[?25h", "\r\x1b[1A\x1b[2K"))
        assert screen.seen.getvalue().count("\x1b[?25l") == screen.seen.getvalue().count("\x1b[?25h") == 1

    def test_the_first_of_several_losses_stands_for_them(self) -> None:
        assert progress.one_loss({"discriminator": 1.0, "generator": 2.0}) == "discriminat… 1"
        assert progress.one_loss({"kl": 2.0, "loss": 0.5}) == "loss 0.5"
        assert progress.one_loss({}) == ""
        assert progress.speed(0.0) == ""


def test_track_shows_nothing_elsewhere() -> None:
    def numbers() -> Iterator[int]:
        yield from range(3)

    assert list(progress.track(numbers(), "reading", 3)) == [0, 1, 2]
