"""The options of shot detection, and the reports that are asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from reelsplit import (
    AdaptiveDetector,
    ContentDetector,
    ContentWeights,
    CropRegion,
    Effort,
    FlashFilter,
    Footage,
    OverwritePolicy,
    ReelsplitDetector,
    ReportKind,
    ReportOptions,
    ReportTarget,
    ShotDetection,
    ThresholdDetector,
    ThresholdMethod,
    TransitionPolicy,
)
from reelsplit.cli import options, report_paths, specs, templates
from reelsplit.cli.failures import Failure, Problems
from reelsplit.cli.options import DetectOptions, Detector, JobOptions, ModeOptions, OutputOptions
from reelsplit.cli.report_paths import Report

CSV, EDL = ReportKind.SHOTS_CSV, ReportKind.EDL


def recipe(detect: DetectOptions | None = None, *, overwrite: bool = False) -> specs.Recipe:
    return specs.recipe(
        ModeOptions(shots=True),
        detect or DetectOptions(),
        OutputOptions(),
        JobOptions(),
        overwrite=overwrite,
    )


def mode(**values: object) -> object:
    return recipe(DetectOptions(**values)).mode  # type: ignore[arg-type]


def test_all_of_our_own_detector() -> None:
    made = mode(
        effort=options.Effort.FAST,
        sensitivity=0.7,
        footage=options.Footage.SCREEN,
        transition=options.Transition.DROP,
        crop="10, 20,300,400",
        downscale=2,
        skip_letterbox=True,
    )
    assert made == ShotDetection(
        detector=ReelsplitDetector(effort=Effort.FAST, sensitivity=0.7, footage=Footage.SCREEN),
        transition_policy=TransitionPolicy.DROP,
        crop=CropRegion(x=10, y=20, width=300, height=400),
        downscale=2,
        skip_letterbox=True,
    )


@pytest.mark.parametrize("kind", [options.Effort, options.Footage, options.Transition])
def test_every_word_has_its_meaning(kind: type[options.Effort]) -> None:
    meant = {"Effort": Effort, "Footage": Footage, "Transition": TransitionPolicy}[kind.__name__]
    assert {one.name for one in kind} == {one.name for one in meant} - {"UNSPECIFIED"}


def test_every_option_reaches_the_spec() -> None:
    values: dict[str, object] = {
        "effort": options.Effort.EXACT,
        "footage": options.Footage.WEB,
        "transition": options.Transition.END,
        "detector": Detector.HASH,
        "crop": "0,0,16,16",
        "skip_letterbox": True,
    }
    for field in dataclasses.fields(DetectOptions):
        given = {field.name: values.get(field.name, 0.5 if "float" in str(field.type) else 2)}
        if "str" in str(field.type) and field.name not in values:
            given = {field.name: "5"}
        if field.name in ("threshold", "detector_option"):
            given = {"detector": Detector.CONTENT, field.name: given[field.name]}
            if field.name == "detector_option":
                given[field.name] = ["luma_only=yes"]
        assert mode(**given) not in (
            ShotDetection(),
            ShotDetection(detector=ContentDetector()),
        ), field.name


def test_parameters_of_a_detector() -> None:
    parameters = [
        "luma_only=Yes",
        "weights.edges=0.2",
        "weights.hue=2",
        "kernel-size=5",
        "flash_filter=suppress",
    ]
    made = mode(detector=Detector.CONTENT, threshold=20, detector_option=parameters)
    assert made == ShotDetection(
        detector=ContentDetector(
            threshold=20,
            luma_only=True,
            weights=ContentWeights(edges=0.2, hue=2.0),
            kernel_size=5,
            flash_filter=FlashFilter.SUPPRESS,
        )
    )
    parameters = ["min_out_duration=00:01.5", "method=ceiling", "fade_bias=-0.5"]
    made = mode(detector=Detector.THRESHOLD, detector_option=parameters)
    assert made == ShotDetection(
        detector=ThresholdDetector(
            min_out_duration=1.5, method=ThresholdMethod.CEILING, fade_bias=-0.5
        )
    )
    made = mode(detector=Detector.ADAPTIVE, detector_option=["window_width=4"])
    assert made == ShotDetection(detector=AdaptiveDetector(window_width=4))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"threshold": 3}, "--threshold: needs --detector"),
        ({"detector_option": ["a=1"]}, "--detector-option: needs --detector"),
        (
            {"detector": Detector.HASH, "effort": options.Effort.FAST},
            "--effort: is of our own detector",
        ),
        ({"detector": Detector.HASH, "detector_option": ["size"]}, "'size' is no NAME=VALUE"),
        (
            {"detector": Detector.HASH, "detector_option": ["bins=3"]},
            "bins is no parameter; take one of threshold, size, lowpass",
        ),
        (
            {"detector": Detector.CONTENT, "detector_option": ["weights=1"]},
            "weights is no parameter; .* weights.hue, weights.saturation",
        ),
        (
            {"detector": Detector.CONTENT, "detector_option": ["weights.hue.x=1"]},
            "weights.hue.x is no parameter",
        ),
        (
            {"detector": Detector.HASH, "detector_option": ["size=3.5"]},
            "size takes a whole number, not '3.5'",
        ),
        (
            {"detector": Detector.HASH, "detector_option": ["size=3", "size=4"]},
            "size is given twice",
        ),
        (
            {"detector": Detector.CONTENT, "detector_option": ["luma_only=maybe"]},
            "takes true or false",
        ),
        (
            {"detector": Detector.CONTENT, "detector_option": ["flash_filter=x"]},
            "takes merge or suppress",
        ),
        ({"crop": "1,2,3"}, "--crop: '1,2,3' is not a part"),
        ({"crop": "1,2,3,-4"}, "--crop"),
        ({"crop": "1,2,3,٤"}, "--crop"),
    ],
)
def test_what_makes_no_sense_is_said(values: dict[str, object], says: str) -> None:
    with pytest.raises(Failure, match=says):
        mode(**values)


@pytest.mark.parametrize("flag", ["skip_letterbox", "effort", "crop"])
def test_options_of_shots_go_with_shots_only(flag: str) -> None:
    value = {"skip_letterbox": True, "effort": options.Effort.FAST, "crop": "0,0,16,16"}[flag]
    detect = DetectOptions(**{flag: value})  # type: ignore[arg-type]
    with pytest.raises(Failure, match="goes with --shots only"):
        specs.recipe(ModeOptions(every="1"), detect, OutputOptions(), JobOptions())


# --- Reports -------------------------------------------------------------------------------------


def asked(*texts: str) -> list[Report]:
    return specs.read_reports(options.ReportOptions(report=list(texts)))


def test_every_report_has_a_name() -> None:
    assert set(report_paths.KINDS) == set(options.ReportName)
    assert set(report_paths.KINDS.values()) == set(ReportKind) - {ReportKind.UNSPECIFIED}
    found = asked(*(name.value for name in options.ReportName))
    assert [report.kind for report in found] == list(report_paths.KINDS.values())


def test_reports_have_places_of_their_own_or_not() -> None:
    assert asked() == []
    assert asked("csv", "edl=cut=1.edl", "html=pages/") == [
        Report(kind=CSV),
        Report(kind=EDL, template="cut=1.edl"),
        Report(kind=ReportKind.HTML, template="pages/{stem}.{kind}"),
    ]


@pytest.mark.parametrize("text", ["pdf", "CSV", "", "csv="])
def test_reports_that_there_are_not(text: str) -> None:
    with pytest.raises(Failure, match="--report"):
        asked(text)
    problems = Problems()
    report_paths.read(["csv", "csv=x"], problems)
    with pytest.raises(Failure, match="given twice"):
        problems.check()


def test_the_spec_names_them() -> None:
    (job,) = templates.pair(["a.mp4"], "o/{index}.mp4", asked("csv", "edl=x.edl"))
    assert recipe().spec(job).reports == ReportOptions(
        kinds=[CSV], targets=[ReportTarget(kind=EDL, uri_template="x.edl")]
    )
    reports = recipe(overwrite=True).spec(job).reports
    assert reports is not None
    assert reports.overwrite_policy is OverwritePolicy.REPLACE
    (bare,) = templates.pair(["a.mp4"], None)
    assert recipe().spec(bare).reports is None


def test_local_reports_have_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    wanted = asked("csv", "edl=deep/x.edl", "html=there", "json=s3://b/{kind}", "otio=/abs/{stem}")
    job = templates.local(templates.pair(["a.mp4"], None, wanted)[0])
    assert [report.template for report in job.reports] == [
        f"{tmp_path}/{{stem}}.{{kind}}",
        f"{tmp_path}/deep/x.edl",
        f"{tmp_path}/there/{{stem}}.{{kind}}",
        "s3://b/{kind}",
        "/abs/{stem}",
    ]
    assert templates.roots([job]) == ["/", str(tmp_path), str(tmp_path / "there")]
    # Beside the segments, which the server knows itself.
    job = templates.local(templates.pair(["a.mp4"], "o/{index}.mp4", asked("csv"))[0])
    assert [report.template for report in job.reports] == [None]


def test_reports_of_a_link_are_named_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real.mp4").write_bytes(b"")
    (tmp_path / "li{nk.mp4").symlink_to("real.mp4")
    for template, folder in ((None, ""), ("o/{stem}/{index}/x.mp4", "/o/li{{nk")):
        job = templates.local(templates.pair(["li{nk.mp4"], template, asked("csv"))[0])
        assert job.reports[0].template == f"{tmp_path}{folder}/li{{{{nk.{{kind}}"


def test_reports_of_several_inputs_must_be_told_apart() -> None:
    inputs = ["a.mp4", "b.mp4"]
    for path in ("x.csv", "{kind}"):
        with pytest.raises(Failure, match=r"--report: .* needs {stem}"):
            templates.pair(inputs, "{stem}-{index}.mp4", asked(f"csv={path}"))
    for path in ("{stem}.csv", "{job_id}.csv", "out/"):
        assert len(templates.pair(inputs, "{stem}-{index}.mp4", asked(f"csv={path}"))) == 2
