"""What the fields of the contract are called in the dialect, for messages."""

from __future__ import annotations

import re

# The first that fits counts.
_NAMES = (
    (r"spec\.input(\.uri|\.media_id)?", "InputConfig.Media"),
    (r"spec\.input\.endpoint", "InputConfig.Media"),
    (r"spec\.user_defined\.ranges(\[\d+\])\.start_offset", r"JobParams.Ranges\1.In"),
    (r"spec\.user_defined\.ranges(\[\d+\])\.end_offset", r"JobParams.Ranges\1.Out"),
    (r"spec\.user_defined\.ranges", "JobParams.Ranges"),
    (r"spec\.mode", "JobParams.Mode"),
    (r"spec\.output\.uri_template", "OutputConfig.ObjectKey"),
    (r"spec\.output\.bucket", "OutputConfig.Bucket"),
    (r"spec\.output\.endpoint", "OutputConfig.Endpoint"),
    (r"spec\.output\.width", "OutputConfig.Width"),
    (r"spec\.output\.height", "OutputConfig.Height"),
    (r"spec\.output\.export_as_media", "OutputConfig.ExportAsNewMedia"),
    (r"spec\.output\.video\.codec", "OutputConfig.Video.Codec"),
    (r"spec\.output\.video\.crf", "OutputConfig.Video.Crf"),
    (r"spec\.output\.video\.bit_rate", "OutputConfig.Video.Bitrate"),
    (r"spec\.output\.video\.max_bit_rate", "OutputConfig.Video.Maxrate"),
    (r"spec\.output\.video\.buffer_size", "OutputConfig.Video.Bufsize"),
    (r"spec\.output\.video\.preset", "OutputConfig.Video.Preset"),
    (r"spec\.output\.video\.gop", "OutputConfig.Video.Gop"),
    (r"spec\.output\.video\.frame_rate", "OutputConfig.Video.Fps"),
    (r"spec\.output\.video\.profile", "OutputConfig.Video.Profile"),
    (r"spec\.output\.video\.pixel_format", "OutputConfig.Video.PixFmt"),
    (r"spec\.output\.video", "OutputConfig.Video"),
    (r"spec\.output", "OutputConfig"),
    (r"spec\.user_data|user_data", "UserData"),
    (r"spec\.notify_url", "UserData.NotifyAddress"),
    (r"client_token", "ClientToken"),
    (r"job_id", "JobId"),
    (r"media_id", "MediaId"),
    (r"uri", "InputURL"),
    (r"title", "Title"),
    (r"delete_file", "DeletePhysicalFiles"),
    (r"url", "CallbackURL"),
    (r"secret", "AuthKey"),
    (r"event_types", "EventTypeList"),
    (r"page_token", "NextToken"),
    (r"page_size", "MaxResults"),
)
_TABLE = tuple((re.compile(pattern), name) for pattern, name in _NAMES)


def renamed(field: str) -> str:
    """The dialect's name of a field; what it has no name for keeps its own."""
    for pattern, name in _TABLE:
        if found := pattern.fullmatch(field):
            return found.expand(name)
    return field
