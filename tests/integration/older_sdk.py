"""Run by the Python of an environment with the older SDK: submits, polls, and provokes errors."""

import json
import sys
import time
from importlib.metadata import version

from alibabacloud_ice20201109 import models
from alibabacloud_ice20201109.client import Client
from alibabacloud_tea_openapi.models import Config

FACE, KEY_ID, SECRET, SOURCE, BUCKET = sys.argv[1:]
client = Client(
    Config(endpoint=FACE, access_key_id=KEY_ID, access_key_secret=SECRET, protocol="http")
)
given = {
    "client_token": "older-1",
    "input_config": json.dumps({"Type": "OSS", "Media": SOURCE}),
    "output_config": json.dumps(
        {"OutputMediaTarget": "oss-object", "Bucket": BUCKET, "ObjectKey": "older_{index}.mp4"}
    ),
    "job_params": json.dumps(
        {"Mode": "UserDefined", "Ranges": [{"In": 1, "Out": 2.5}, {"In": 4, "Out": 6}]}
    ),
    "user_data": json.dumps({"a": "b c+d*~"}),
}


def submit(**changes):
    request = models.SubmitSegmentationJobRequest(**{**given, **changes})
    return client.submit_segmentation_job(request).body.job_id


def get(job_id):
    return client.get_smart_handle_job(models.GetSmartHandleJobRequest(job_id=job_id)).body


def code(work):
    try:
        work()
    except Exception as error:
        return error.code
    return None


job_id = submit()
again = submit() == job_id
while (body := get(job_id)).state not in ("Finished", "Failed"):
    time.sleep(0.2)
found = json.loads(body.job_result.ai_result)["SegmentationResult"]["OutputObjectResults"]
print(
    json.dumps(
        {
            "version": version("alibabacloud-ice20201109"),
            "state": body.state,
            "results": found,
            "again": again,
            "codes": [
                code(lambda: get("nothing")),
                code(lambda: submit(job_params="{", client_token="older-2")),
                code(lambda: submit(user_data="{}")),
            ],
        }
    )
)
