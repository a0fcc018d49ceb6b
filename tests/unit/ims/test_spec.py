"""From parameters to specs: what is taken, and how the rest is refused."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelsplit import (
    Input,
    Output,
    OverwritePolicy,
    ShotDetection,
    TimeRange,
    UserDefined,
    VideoCodec,
    VideoEncoding,
)
from reelsplit_server.app.buckets import Buckets
from reelsplit_server.app.errors import AppError
from reelsplit_server.ims.errors import ImsError, translated
from reelsplit_server.ims.parameters import Parameters
from reelsplit_server.ims.spec import job_spec
from tests.unit.ims.faces import ROUTES

MEDIA = "0123456789abcdef" * 2
GOOD: dict[str, Any] = {
    "InputConfig": {"Type": "OSS", "Media": "oss://test-bucket/a/film.mp4"},
    "OutputConfig": {
        "OutputMediaTarget": "oss-object",
        "Bucket": "test-bucket",
        "ObjectKey": "p/{index}.mp4",
    },
    "JobParams": {"Mode": "UserDefined", "Ranges": [{"In": 1, "Out": 2.5}]},
}
BUCKETS = Buckets(ROUTES)


def read(changes: dict[str, Any] | None = None, **within: Any) -> Any:
    """The spec of good parameters, but for some: whole ones, or members of them."""
    values = {**GOOD, **(changes or {})}
    for name, members in within.items():
        values[name] = {**values[name], **members}
    texts = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if value is not None and value != ""
    }
    return job_spec(Parameters(texts), BUCKETS, Fraction(1))


def refused(changes: dict[str, Any] | None = None, **within: Any) -> ImsError:
    """How it is refused."""
    with pytest.raises((ImsError, AppError)) as caught:
        read(changes, **within)
    error = caught.value
    return translated(error) if isinstance(error, AppError) else error


def test_the_whole() -> None:
    spec = read(
        {"UserData": '{"test":"22","NotifyAddress":"https://example.com/cb?x=1"}'},
        OutputConfig={"Width": 1280, "Height": 720.0, "ExportAsNewMedia": True, "Unknown": [1]},
        InputConfig={"Else": {}},
        JobParams={"Ranges": [{"In": 0, "Out": 10, "X": 1}, {"In": 35.5, "Out": "50"}]},
    )
    assert spec.input == Input(uri="oss://test-bucket/a/film.mp4")
    assert spec.mode == UserDefined(
        ranges=[
            TimeRange(start_offset=0, end_offset=10),
            TimeRange(start_offset=35.5, end_offset=50),
        ]
    )
    assert spec.output == Output(
        uri_template="oss://test-bucket/p/{index}.mp4",
        width=1280,
        height=720,
        overwrite_policy=OverwritePolicy.REPLACE,
        export_as_media=True,
    )
    assert spec.user_data == '{"test":"22","NotifyAddress":"https://example.com/cb?x=1"}'
    assert spec.notify_url == "https://example.com/cb?x=1"
    assert spec.time_to_live == 1


@pytest.mark.parametrize("empty", [None, ""])
def test_members_that_are_empty_are_absent(empty: Any) -> None:
    spec = read(
        OutputConfig={
            "Width": empty,
            "Height": empty,
            "Endpoint": empty,
            "ExportAsNewMedia": empty,
            "Video": empty,
        }
    )
    assert spec == read()


@pytest.mark.parametrize(
    ("media", "source"),
    [
        ("oss://test-bucket/a.mp4", Input(uri="oss://test-bucket/a.mp4")),
        ("oss://pieces/a.mp4", Input(uri="s3://pieces/a.mp4")),
        ("oss://rushes/a.mp4", Input(uri="gs://rushes/a.mp4")),
        ("s3://my.pieces/a.mp4", Input(uri="s3://my.pieces/a.mp4")),
        ("gs://rushes/a b+c%20.mp4", Input(uri="gs://rushes/a b+c%20.mp4")),
        (
            "oss://test-bucket.oss-cn-shanghai.aliyuncs.com/a.mp4",
            Input(uri="oss://test-bucket.oss-cn-shanghai.aliyuncs.com/a.mp4"),
        ),
        (
            "http://test-bucket.oss-cn-shanghai.aliyuncs.com/dir/视频 a+b.mp4",
            Input(
                uri="http://test-bucket.oss-cn-shanghai.aliyuncs.com/dir/"
                "%E8%A7%86%E9%A2%91%20a+b.mp4"
            ),
        ),
        (
            "https://test-bucket.oss-cn-shanghai.aliyuncs.com/a%20b.mp4",
            Input(uri="https://test-bucket.oss-cn-shanghai.aliyuncs.com/a%20b.mp4"),
        ),
    ],
)
def test_locations(media: str, source: Input) -> None:
    assert read(InputConfig={"Media": media}).input == source


def test_media_ids() -> None:
    spec = read(InputConfig={"Type": "Media", "Media": MEDIA})
    assert spec.input == Input(media_id=MEDIA)


@pytest.mark.parametrize(
    ("bucket", "uri"),
    [
        ("test-bucket", "oss://test-bucket/p/{index}.mp4"),
        ("pieces", "s3://pieces/p/{index}.mp4"),
        ("my.pieces", "s3://my.pieces/p/{index}.mp4"),
        ("rushes", "gs://rushes/p/{index}.mp4"),
    ],
)
def test_buckets_lead_to_their_stores(bucket: str, uri: str) -> None:
    output = read(OutputConfig={"Bucket": bucket}).output
    assert (output.uri_template, output.endpoint) == (uri, None)


def test_shots() -> None:
    assert read({"JobParams": {"Mode": "BasicClipSplit"}}).mode == ShotDetection()


@pytest.mark.parametrize(
    ("video", "encoding"),
    [
        ({}, None),
        ({"Remove": "false"}, None),
        ({"Bitrate": 3000}, VideoEncoding(bit_rate=3_000_000)),
        (
            {"Bitrate": "3000.5", "Codec": "H.264"},
            VideoEncoding(bit_rate=3_000_500, codec=VideoCodec.H264),
        ),
        ({"Crf": "23", "Bitrate": 3000}, VideoEncoding(crf=23.0)),
        ({"Codec": "h265", "Crf": 0}, VideoEncoding(codec=VideoCodec.HEVC, crf=0.0)),
        ({"Codec": "AV1", "Preset": 8}, VideoEncoding(codec=VideoCodec.AV1, preset="8")),
        ({"Fps": "29.97"}, VideoEncoding(frame_rate=Fraction(30000, 1001))),
        ({"Fps": 25}, VideoEncoding(frame_rate=Fraction(25))),
        ({"Fps": "24000/1001"}, VideoEncoding(frame_rate=Fraction(24000, 1001))),
        ({"Fps": 12.5, "Gop": "250"}, VideoEncoding(frame_rate=Fraction(25, 2), gop=250)),
        (
            {"Maxrate": 4000, "Bufsize": "8000", "Crf": 20},
            VideoEncoding(max_bit_rate=4_000_000, buffer_size=8_000_000, crf=20.0),
        ),
        (
            {"Maxrate": 4000, "Bitrate": 3000},
            VideoEncoding(max_bit_rate=4_000_000, buffer_size=4_000_000, bit_rate=3_000_000),
        ),
        (
            {"Profile": "high", "PixFmt": "yuv420p", "Preset": "veryfast"},
            VideoEncoding(profile="high", pixel_format="yuv420p", preset="veryfast"),
        ),
    ],
)
def test_video(video: dict[str, Any], encoding: VideoEncoding | None) -> None:
    assert read(OutputConfig={"Video": video}).output.video == encoding


MISSING, WRONG = "MissingParameter", "InvalidParameter"


@pytest.mark.parametrize("name", ["InputConfig", "OutputConfig", "JobParams"])
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", MISSING),
        ("{}", MISSING),
        ("{", WRONG),
        ("nothing", WRONG),
        ("[]", WRONG),
        ('"text"', WRONG),
        ("1", WRONG),
        ("null", WRONG),
        ("{'Type': 'OSS'}", WRONG),
        ("[" * 100_000, WRONG),
        ('{"a":' * 100_000, WRONG),
        ('{"a": NaN}', WRONG),
        ("1" * 5000, WRONG),
    ],
)
def test_malformed_json_is_refused_by_name(name: str, text: str, code: str) -> None:
    error = refused({name: text})
    assert (error.status, error.code) == (400, code)
    assert error.message.startswith(name)
    assert len(error.message) < 300


@pytest.mark.parametrize(
    ("within", "code", "words"),
    [
        ({"InputConfig": {"Type": None}}, MISSING, "InputConfig.Type"),
        ({"InputConfig": {"Media": ""}}, MISSING, "InputConfig.Media"),
        ({"InputConfig": {"Type": "oss"}}, WRONG, "InputConfig.Type is neither OSS"),
        ({"InputConfig": {"Media": 7}}, WRONG, "InputConfig.Media is no text"),
        ({"InputConfig": {"Type": "Media"}}, WRONG, "InputConfig.Media is no media id"),
        ({"InputConfig": {"Media": "/etc/passwd"}}, WRONG, "InputConfig.Media is a path"),
        ({"InputConfig": {"Media": "file:///etc/passwd"}}, WRONG, "InputConfig.Media is a path"),
        ({"InputConfig": {"Media": "oss://test-bucket"}}, WRONG, "InputConfig.Media"),
        ({"InputConfig": {"Media": "oss://test-bucket/../a"}}, WRONG, "InputConfig.Media"),
        ({"InputConfig": {"Media": "ftp://a/b"}}, WRONG, "InputConfig.Media has the scheme"),
        ({"InputConfig": {"Media": "http://u:p@a.oss-x.com/b"}}, WRONG, "credentials"),
        ({"JobParams": {"Mode": None}}, MISSING, "JobParams.Mode"),
        ({"JobParams": {"Mode": "Auto"}}, WRONG, "UserDefined"),
        ({"JobParams": {"Mode": "Auto"}}, WRONG, "BasicClipSplit"),
        ({"JobParams": {"Mode": ["UserDefined"]}}, WRONG, "JobParams.Mode"),
        ({"JobParams": {"Mode": "BasicClipSplit"}}, WRONG, "JobParams.Ranges belongs"),
        ({"JobParams": {"Ranges": []}}, MISSING, "JobParams.Ranges"),
        ({"JobParams": {"Ranges": None}}, MISSING, "JobParams.Ranges"),
        ({"JobParams": {"Ranges": {"In": 1, "Out": 2}}}, WRONG, "JobParams.Ranges is no list"),
        ({"JobParams": {"Ranges": [1]}}, WRONG, "JobParams.Ranges[0] is no object"),
        ({"JobParams": {"Ranges": [{"In": 1}]}}, MISSING, "JobParams.Ranges[0].Out"),
        ({"JobParams": {"Ranges": [{"In": True, "Out": 2}]}}, WRONG, "JobParams.Ranges[0].In"),
        ({"JobParams": {"Ranges": [{"In": "ten", "Out": 2}]}}, WRONG, "JobParams.Ranges[0].In"),
        ({"JobParams": {"Ranges": [{"In": -1, "Out": 2}]}}, WRONG, "JobParams.Ranges[0].In"),
        ({"JobParams": {"Ranges": [{"In": 0, "Out": 10**400}]}}, WRONG, "JobParams.Ranges[0].Out"),
        ({"JobParams": {"Ranges": [{"In": 0, "Out": 1e12}]}}, WRONG, "JobParams.Ranges[0].Out"),
        ({"OutputConfig": {"OutputMediaTarget": None}}, MISSING, "OutputConfig.OutputMediaTarget"),
        ({"OutputConfig": {"OutputMediaTarget": "vod-media"}}, WRONG, "takes only oss-object"),
        ({"OutputConfig": {"Bucket": None}}, MISSING, "OutputConfig.Bucket"),
        ({"OutputConfig": {"Bucket": {}}}, WRONG, "OutputConfig.Bucket is no text"),
        ({"OutputConfig": {"Bucket": "a/b"}}, WRONG, "OutputConfig.Bucket is no name"),
        ({"OutputConfig": {"ObjectKey": "a.mp4"}}, WRONG, "{index}"),
        ({"OutputConfig": {"Width": 127}}, WRONG, "OutputConfig.Width is 127"),
        ({"OutputConfig": {"Height": 4097}}, WRONG, "OutputConfig.Height is 4097"),
        ({"OutputConfig": {"Width": 640.5}}, WRONG, "OutputConfig.Width"),
        ({"OutputConfig": {"Width": "wide"}}, WRONG, "OutputConfig.Width is no number"),
        ({"OutputConfig": {"ExportAsNewMedia": "yes"}}, WRONG, "ExportAsNewMedia is neither"),
        ({"OutputConfig": {"Video": "H.264"}}, WRONG, "OutputConfig.Video is no object"),
        ({"OutputConfig": {"Video": {"Codec": "ProRes"}}}, WRONG, "H.264, H.265, AV1"),
        ({"OutputConfig": {"Video": {"Bitrate": 0}}}, WRONG, "OutputConfig.Video.Bitrate"),
        ({"OutputConfig": {"Video": {"Bitrate": "fast"}}}, WRONG, "OutputConfig.Video.Bitrate"),
        ({"OutputConfig": {"Video": {"Fps": 0}}}, WRONG, "OutputConfig.Video.Fps"),
        ({"OutputConfig": {"Video": {"Gop": 1.5}}}, WRONG, "OutputConfig.Video.Gop"),
        ({"OutputConfig": {"Video": {"Preset": ["x"]}}}, WRONG, "OutputConfig.Video.Preset"),
    ],
)
def test_wrong_values_are_refused_by_name(within: dict[str, Any], code: str, words: str) -> None:
    error = refused(**within)
    assert (error.status, error.code) == (400, code)
    assert words in error.message


def test_huge_numbers_are_refused() -> None:
    text = '{"Mode":"UserDefined","Ranges":[{"In":0,"Out":1e999}]}'
    assert "JobParams.Ranges[0].Out" in refused({"JobParams": text}).message
    text = f'{{"Mode":"UserDefined","Ranges":[{{"In":0,"Out":{"9" * 4000}}}]}}'
    assert "JobParams.Ranges[0].Out" in refused({"JobParams": text}).message
    for out in ("1e999999999", "9" * 4000, "0x10", "1_0", "٣", " 1 2"):
        ranges = [{"In": 0, "Out": out}]
        assert "JobParams.Ranges[0].Out" in refused(JobParams={"Ranges": ranges}).message


@pytest.mark.parametrize(
    "within",
    [
        {"InputConfig": {"Media": "oss://others/a.mp4"}},
        {"InputConfig": {"Media": "http://others.oss-cn-shanghai.aliyuncs.com/a.mp4"}},
        {"InputConfig": {"Media": "oss://test-bucket.oss-cn-beijing.aliyuncs.com/a.mp4"}},
        {"InputConfig": {"Media": "http://169.254.169.254/latest"}},
        {"OutputConfig": {"Bucket": "others"}},
        {"OutputConfig": {"Endpoint": "https://oss-cn-beijing.aliyuncs.com"}},
    ],
)
def test_what_no_store_lists_is_not_authorized(within: dict[str, Any]) -> None:
    error = refused(**within)
    assert (error.status, error.code) == (403, "BucketNotAuthorized")


def test_addresses_in_user_data() -> None:
    assert read({"UserData": '{"NotifyAddress":""}'}).notify_url is None
    assert read({"UserData": '["NotifyAddress"]'}).notify_url is None
    assert read({"UserData": "not json"}).user_data == "not json"
    told = read({"UserData": '{"NotifyAddress":"https://a.example","NotifySegments":true}'})
    assert (told.notify_url, told.notify_segments) == ("https://a.example", True)
    assert not read({"UserData": '{"NotifySegments":true}'}).notify_segments
    assert "UserData.NotifyAddress" in refused({"UserData": '{"NotifyAddress":5}'}).message
    assert refused({"UserData": "x" * 70_000}).code == WRONG


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
_MEMBERS = ["Type", "Media", "Bucket", "ObjectKey", "Width", "Video", "Mode", "Ranges", "Codec"]


@given(
    st.sampled_from(["InputConfig", "OutputConfig", "JobParams"]),
    st.dictionaries(st.sampled_from(_MEMBERS), _JSON | st.just("oss://{x}/{index}"), max_size=4),
)
def test_nothing_breaks_it(name: str, members: dict[str, Any]) -> None:
    try:
        read(**{name: members})
    except (ImsError, AppError) as error:
        told = translated(error) if isinstance(error, AppError) else error
        assert told.status in (400, 403)
        assert told.message
