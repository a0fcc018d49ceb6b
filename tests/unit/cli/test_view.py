from __future__ import annotations

from reelsplit.cli.rows import SEGMENTS_SHOWN, rows
from reelsplit.cli.view import JobView
from reelsplit.types.event import Bookmark, JobEvent, JobStateChanged, PlanCompleted, SegmentChanged
from reelsplit.types.job import JobProgress, JobState, SegmentProgress
from reelsplit.types.segment import Segment, SegmentState


def view(*happened: object) -> JobView:
    found = JobView()
    for one in happened:
        found.apply(JobEvent(job_id="j", event=one))  # type: ignore[arg-type]
    return found


def segment(index: int, state: SegmentState) -> SegmentChanged:
    return SegmentChanged(segment=Segment(index=index, state=state))


RUNNING = JobStateChanged(state=JobState.RUNNING)


def test_a_waiting_job_has_one_bar_without_percent() -> None:
    (row,) = rows(view(JobStateChanged(state=JobState.PENDING)), "film")
    assert (row.label, row.fraction, row.note) == ("film", None, "waiting")


def test_the_analysis_has_a_bar_while_it_lasts() -> None:
    tick = JobProgress(percent=10, analysed_fraction=0.25, analysis_frames_per_second=300)
    job, analysis = rows(view(RUNNING, tick), "film")
    assert job.fraction == 0.1
    assert (analysis.key, analysis.fraction, analysis.note) == ("analysis", 0.25, "300 frames/s")
    later = view(RUNNING, tick, PlanCompleted(segment_count=1), JobProgress(percent=20))
    assert [row.key for row in rows(later, "film")] == ["job"]


def test_running_segments_have_bars_and_published_ones_none() -> None:
    found = view(
        RUNNING,
        PlanCompleted(segment_count=3),
        *(segment(index, SegmentState.PLANNED) for index in range(3)),
        segment(0, SegmentState.RUNNING),
        segment(1, SegmentState.RUNNING),
        segment(0, SegmentState.PUBLISHED),
        JobProgress(
            percent=40,
            frames_per_second=60,
            time_left=75,
            running=[
                SegmentProgress(index=0, fraction=1.0),
                SegmentProgress(index=1, fraction=0.5, frames_per_second=60),
            ],
        ),
    )
    job, one = rows(found, "film")
    assert job.note == "1/3 segments, 60 frames/s, 0:01:15 left"
    assert (one.key, one.label, one.fraction) == ("1", "  segment 1", 0.5)


def test_the_number_of_bars_is_bounded() -> None:
    found = view(RUNNING, *(segment(index, SegmentState.RUNNING) for index in range(30)))
    shown = rows(found, "film")
    assert len(shown) == 1 + SEGMENTS_SHOWN
    assert shown[-1].note == "and 22 more running"


def test_percent_never_goes_back() -> None:
    found = view(RUNNING, JobProgress(percent=30), JobProgress(percent=20))
    assert found.percent == 30


def test_an_unknown_plan_is_marked_as_open() -> None:
    (job,) = rows(view(RUNNING, segment(0, SegmentState.PUBLISHED)), "film")
    assert job.note == "1/1+ segments"


def test_failed_segments_are_counted() -> None:
    found = view(RUNNING, segment(0, SegmentState.FAILED), JobProgress(percent=1))
    assert "1 failed" in rows(found, "film")[0].note


def test_counts_follow_the_states() -> None:
    found = view(
        *(segment(index, SegmentState.PLANNED) for index in range(3)),
        segment(1, SegmentState.RUNNING),
        segment(1, SegmentState.PUBLISHED),
        segment(2, SegmentState.FAILED),
    )
    counts = {state: found.count(state) for state in SegmentState}
    assert counts.pop(SegmentState.PLANNED) == 1
    assert counts.pop(SegmentState.PUBLISHED) == 1
    assert counts.pop(SegmentState.FAILED) == 1
    assert set(counts.values()) == {0}


def test_the_end_leaves_one_bar() -> None:
    found = view(
        RUNNING,
        segment(0, SegmentState.RUNNING),
        JobStateChanged(state=JobState.SUCCEEDED, percent=100),
    )
    (job,) = rows(found, "film")
    assert job.fraction == 1
    assert found.ended


def test_what_is_not_known_is_passed_over() -> None:
    assert view(None, Bookmark(), RUNNING).state is JobState.RUNNING
