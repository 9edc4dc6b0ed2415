"""What a user sees while a benchmark runs."""

import io
import json
import subprocess
import sys

import jsonschema
import pytest
from rich.console import Console

from fmnist_bench.config.schemas import schema
from fmnist_bench.progress import displays
from fmnist_bench.progress.displays import JsonLines, PlainLines, Progress, make_progress
from fmnist_bench.progress.events import clock
from fmnist_bench.progress.live_table import LiveTable

MODEL = {
    **{"name": "ensemble", "valid_accuracy": 0.94, "test_accuracy": 0.93, "test_low": 0.92, "test_high": 0.94},
    **{"test_log_loss": 0.2, "test_calibration_error": 0.01},
}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def play(show):
    """Run a short resumed benchmark with every kind of event."""
    show.run_started("smoke [v1]", 600.0, ["cnn", "cnn+gan", "svm"])
    show.study_state("cnn", {"complete": 3, "pruned": 2, "timeout": 1}, 0.9123, 3725.0)
    show.trial_started("cnn", 6)
    show.trial_progress("cnn", 6, 4, 0.925)
    yield "in a trial"
    show.trial_ended("cnn", 6, "complete", 0.93, 12.0)
    show.trial_started("svm", 0)
    show.trial_ended("svm", 0, "out_of_memory", None, 2.5, "used 5 GiB\nof 4 GiB [bold]")
    show.message("building the [ensemble]")
    yield "all done"
    show.run_ended()
    show.run_ended()


@pytest.fixture
def now(monkeypatch):
    """Stop the clock; the test moves it."""
    time = [1000.0]
    monkeypatch.setattr(displays.time, "monotonic", lambda: time[0])
    return time


def drawn(show, width=120):
    """Draw what the live table shows now."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(show._draw())
    return console.file.getvalue()


def live(width=120):
    return LiveTable(Console(file=io.StringIO(), width=width, height=30, force_terminal=True, color_system=None))


def row(text, study):
    return next(line for line in text.splitlines() if line.strip().startswith(study + " "))


def test_live_table_shows_the_resumed_state_and_the_trial_in_progress(now):
    show = live()
    events = play(show)
    next(events)
    now[0] += 75
    text = drawn(show)
    assert "smoke [v1]" in text
    assert "Ctrl-C ends the search and keeps everything" in text
    assert "8:45 left of 10:00" in text
    # 3725 s before, and 75 s in the trial that is still running.
    assert row(text, "cnn").split() == ["cnn", "3", "2", "1", "91.23", "1:03:20", "#6", "step", "4:", "92.50", "%"]
    assert row(text, "svm").split() == ["svm", "–", "–", "–", "–", "0:00"]
    list(events)


@pytest.mark.parametrize(("spent", "left"), [(13.0, "9:47 left of 10:00"), (630.0, "0:30 beyond 10:00")])
def test_the_bar_spans_the_whole_budget_whatever_was_used_before_the_first_trial(now, spent, left):
    show, lines, events = live(), PlainLines(out := io.StringIO()), JsonLines(printed := io.StringIO())
    for display in (show, lines, events):
        display.run_started("smoke", 600.0, ["cnn"], spent)
    assert left in drawn(show)
    assert out.getvalue().startswith(f"[{clock(spent)}] smoke: 1 study (cnn), budget 10:00;")
    assert json.loads(printed.getvalue())["budget_seconds"] == max(600 - spent, 0)
    show.run_ended()


def test_live_table_counts_trials_and_keeps_the_best(now):
    show = live()
    events = play(show)
    next(events), next(events)
    text = drawn(show)
    assert row(text, "cnn").split() == ["cnn", "4", "2", "1", "93.00", "1:02:17"]
    assert row(text, "svm").split() == ["svm", "–", "–", "1", "–", "0:02", "out", "of", "memory"]
    assert "Best so far: 93.00 % (cnn)" in text
    list(events)


def test_the_live_table_leaves_its_last_state_and_messages_as_plain_text(now):
    show = live()
    list(play(show))
    screen = show._console.file.getvalue()
    assert "svm trial 0: out of memory: used 5 GiB of 4 GiB [bold]" in screen
    assert "building the [ensemble]" in screen
    assert "Ctrl-C" not in drawn(show)
    now[0] += 1000
    assert "0:00 used of 10:00" in drawn(show)


@pytest.mark.parametrize("transient", [False, True])
def test_the_live_table_goes_where_a_leaderboard_follows(now, transient):
    show = LiveTable(Console(file=io.StringIO(), width=100, height=30, force_terminal=True), transient)
    list(play(show))
    assert ("\x1b[2K" in show._console.file.getvalue()[-30:]) == transient  # erases a line


def test_a_wide_live_table_says_what_its_words_mean_while_it_runs(now):
    show = live()
    show.run_started("smoke", 60.0, ["cnn"])
    assert "Pruned: ended early" in drawn(show) and "#2: trial 2" in drawn(show)
    show.run_ended()
    assert "Pruned: ended early" not in drawn(show)
    narrow = live(60)
    narrow.run_started("smoke", 60.0, ["cnn"])
    assert "ended early" not in drawn(narrow, 60)
    narrow.run_ended()


def test_live_table_clock_stops_for_a_trial_that_was_interrupted(now):
    show = live()
    show.run_started("smoke", None, ["cnn"])
    show.trial_started("cnn", 0)
    now[0] += 5
    assert "0:05 spent, no time limit" in drawn(show)
    show.run_ended()
    assert "#0" not in drawn(show)


def test_live_table_fits_eighty_columns_with_all_numbers_whole(now):
    show = live(80)
    events = play(show)
    next(events)
    text = drawn(show, 80)
    assert max(map(len, text.splitlines())) <= 80
    assert row(text, "cnn").split()[:6] == ["cnn", "3", "2", "1", "91.23", "1:02:05"]
    assert "#6 step 4: 92.50 %" in text
    assert "…" not in text
    list(events)


@pytest.mark.parametrize(
    ("columns", "ended", "running"),
    [
        (100, ["1", "–", "–", "91.23", "0:05"], ["–", "–", "–", "–", "0:00", "#0", "0:00"]),
        (80, ["1", "–", "91.23"], ["–", "–", "–", "#0", "0:00"]),
        (60, ["1", "–", "91.23"], ["–", "–", "–", "#0", "0:00"]),
        (40, ["1", "91.23"], ["–", "–"]),
    ],
)
def test_a_narrow_live_table_keeps_the_names_of_studies(now, columns, ended, running):
    show = live(columns)
    show.run_started("smoke", 60.0, ["cnn", "hist_gradient_boosting"])
    show.trial_started("cnn", 0)
    show.trial_ended("hist_gradient_boosting", 0, "complete", 0.9123, 5.0)
    text = drawn(show, columns)
    assert max(map(len, text.splitlines())) <= columns
    assert row(text, "hist_gradient_boosting").split() == ["hist_gradient_boosting", *ended]
    assert row(text, "cnn").split() == ["cnn", *running]
    show.run_ended()


def test_the_best_study_stands_first_and_a_fault_is_one_line(now):
    show = live(60)
    show.run_started("smoke", 60.0, ["cnn", "knn", "resnet50"])
    show.trial_ended("knn", 0, "complete", 0.9, 5.0)
    show.trial_ended("resnet50", 0, "no_weights", None, 5.0, "no ImageNet weights on this machine; " + "download " * 30)
    text = drawn(show, 60)
    assert text.index("knn ") < text.index("cnn ")
    assert row(text, "resnet50").rstrip().endswith("no weig…") or "no weights" in row(text, "resnet50")
    show.run_ended()
    (said,) = [line for line in show._console.file.getvalue().splitlines() if "resnet50 trial 0" in line]
    assert "no weights: no ImageNet" in said and said.rstrip().endswith("…")


def test_live_table_beyond_its_budget_says_so(now):
    show = live()
    show.run_started("smoke", 60.0, ["cnn"])
    now[0] += 90
    assert "0:30 beyond 1:00" in drawn(show)
    show.run_ended()


def test_live_table_names_several_trials_of_one_study(now):
    show = live()
    show.run_started("smoke", 60.0, ["cnn"])
    for number in range(3):
        show.trial_started("cnn", number)
    now[0] += 34
    assert "#2 0:34 (+2 more)" in drawn(show)
    show.run_ended()


def test_what_an_augmentation_learns_is_no_failed_trial(now):
    show, out = live(), io.StringIO()
    for display in (show, PlainLines(out)):
        display.run_started("smoke", 60.0, ["cnn+gan"])
        display.trial_started("cnn+gan", -1)
    assert "augmentation 0:00" in drawn(show)
    show.trial_ended("cnn+gan", -1, "prepared", None, 5.0)
    assert row(drawn(show), "cnn+gan").split() == ["cnn+gan", "–", "–", "–", "–", "0:05"]
    show.run_ended()
    assert "prepared" not in show._console.file.getvalue()
    assert "cnn+gan augmentation: started" in out.getvalue()


@pytest.mark.parametrize(("status", "failed"), [("interrupted", "–"), ("no_weights", "–"), ("crashed", "1")])
def test_the_column_of_failed_trials_counts_those_alone(now, status, failed):
    show = live()
    show.run_started("smoke", 60.0, ["cnn"])
    show.trial_started("cnn", 0)
    show.trial_ended("cnn", 0, status, None, 5.0)
    assert row(drawn(show), "cnn").split()[3] == failed
    show.run_ended()


def test_live_table_shows_running_studies_first_where_not_all_fit(now):
    show = live()
    show.run_started("smoke", 60.0, [f"study{number}" for number in range(40)])
    show.trial_started("study39", 0)
    assert drawn(show).index("study39") < drawn(show).index("study0")
    show.run_ended()


def test_plain_lines_are_one_line_an_event_without_steps_or_markup(now):
    out = io.StringIO()
    list(play(PlainLines(out)))
    assert out.getvalue().splitlines() == [
        "[0:00] smoke [v1]: 3 studies (cnn, cnn+gan, svm), budget 10:00; Ctrl-C ends the search and keeps everything",
        "[0:00] cnn: resumed after 3 complete, 2 pruned, 1 timeout, best validation accuracy 91.23 %, 1:02:05 spent",
        "[0:00] cnn trial 6: started",
        "[0:00] cnn trial 6: complete, validation accuracy 93.00 %, 12.0 s",
        "[0:00] svm trial 0: started",
        "[0:00] svm trial 0: out of memory, 2.5 s: used 5 GiB of 4 GiB [bold]",
        "[0:00] building the [ensemble]",
    ]


def test_json_lines_are_events_of_the_schema():
    out = io.StringIO()
    show = make_progress(out, as_json=True)
    list(play(show))
    show.trial_ended("cnn", 7, "failed", float("nan"), 1.0, "probabilities are not finite")
    show.result({**dict.fromkeys(("folder", "report"), "here"), "ensemble": None, "seconds": 2.0, "models": [MODEL]})
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    for event in events:
        jsonschema.validate(event, schema("event"), jsonschema.Draft7Validator)
    assert [event["event"] for event in events] == ["started", "trial", "trial", "message", "trial", "result"]
    started, _, ended, _, diverged, result = events
    assert started["studies"] == ["cnn", "cnn+gan", "svm"]
    assert (ended["study"], ended["status"], ended["valid_accuracy"]) == ("svm", "out_of_memory", None)
    assert ended["reason"] == "used 5 GiB\nof 4 GiB [bold]"
    assert diverged["valid_accuracy"] is None
    assert result["models"] == [MODEL]


@pytest.mark.parametrize(
    "change", [{"event": "ended"}, {"status": "lost"}, {"valid_accuracy": 1.5}, {"trial": "six"}, {"more": 1}]
)
def test_the_schema_of_events_refuses_what_no_event_is(change):
    out = io.StringIO()
    JsonLines(out).trial_ended("cnn", 6, "complete", 0.93, 12.0)
    event = json.loads(out.getvalue())
    check = jsonschema.Draft7Validator(schema("event"))
    assert check.is_valid(event) and not check.is_valid(event | change)
    for key in event:
        assert not check.is_valid({name: value for name, value in event.items() if name != key})


def test_a_long_computation_has_a_bar_until_the_model_trains(now):
    show = live()
    show.run_started("run", None, ["svm", "cnn+gan"])
    show.trial_started("svm", 0)
    show.trial_started("cnn+gan", -1)
    show.trial_stage("svm", 0, "HOG", 0.42)
    show.trial_stage("cnn+gan", -1, "GAN", 0.9)
    show.trial_progress("cnn+gan", -1, 5400, 0.8)
    text = drawn(show)
    assert row(text, "svm").rstrip().endswith("#0 HOG ━━━━╌╌╌╌╌╌ 42%")
    assert row(text, "cnn+gan").rstrip().endswith("augmentation GAN ━━━━━━━━━╌ 90%")
    show.trial_stage("svm", 0, "HOG", 1.0)
    now[0] += 5
    assert row(drawn(show), "svm").rstrip().endswith("#0 0:05")
    show.trial_progress("svm", 0, 1, 0.5)
    assert "step 1: 50.00 %" in row(drawn(show), "svm")
    show.run_ended()


def test_display_fits_the_stream(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert type(make_progress(io.StringIO())) is PlainLines
    assert type(make_progress(Terminal())) is LiveTable
    assert type(make_progress(Terminal(), quiet=True)) is Progress
    assert type(make_progress(Terminal(), as_json=True)) is JsonLines
    monkeypatch.setenv("TERM", "dumb")
    assert type(make_progress(Terminal())) is PlainLines


def test_quiet_takes_every_event_in_silence(capsys):
    list(play(make_progress(quiet=True)))
    assert capsys.readouterr() == ("", "")


def test_plain_lines_do_not_import_rich():
    code = "import sys, fmnist_bench.progress.displays as p; p.PlainLines(); sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00")])
def test_clock(seconds, text):
    assert clock(seconds) == text
