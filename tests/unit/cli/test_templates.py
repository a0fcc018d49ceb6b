from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelsplit.cli import templates
from reelsplit.cli.failures import ExitCode, Failure
from reelsplit.cli.templates import Job, pair


def test_several_inputs_need_the_stem() -> None:
    with pytest.raises(Failure, match=r"needs \{stem\}") as caught:
        pair(["a.mp4", "b.mp4"], "out/{index}.mp4")
    assert caught.value.code is ExitCode.USAGE


def test_an_escaped_stem_is_none() -> None:
    with pytest.raises(Failure, match=r"needs \{stem\}"):
        pair(["a.mp4", "b.mp4"], "out/{{stem}}{index}.mp4")


def test_stems_that_collide_are_refused() -> None:
    with pytest.raises(Failure, match="2 inputs have the stem 'a'"):
        pair(["x/a.mp4", "y/a.mkv"], "out/{stem}-{index}.mp4")


def test_the_job_id_tells_equal_stems_apart() -> None:
    assert len(pair(["x/a.mp4", "y/a.mkv"], "{stem}-{job_id}-{index}.mp4")) == 2


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        ("a.mp4", "a"),
        ("x/a.b.mp4", "a.b"),
        ("s3://bucket/x/a.mp4", "a"),
        ("https://host/a%20b.mp4?q=c.d", "a b"),
        ("file:///x/a.mp4", "a"),
    ],
)
def test_the_stem_is_the_name_without_its_ending(source: str, stem: str) -> None:
    assert templates.stem(source) == stem


def test_local_paths_become_absolute_and_real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    job = templates.local(Job(name="a", source="a.mp4", template="link/new/{stem}/{index}.mp4"))
    assert job.source == str(tmp_path / "a.mp4")
    assert job.template == f"{real}/new/{{stem}}/{{index}}.mp4"
    assert templates.roots([job]) == sorted({str(tmp_path), str(real)})


def test_a_template_without_folder_lies_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = templates.local(Job(name="a", source="a.mp4", template="x{index}.mp4"))
    assert job.template == f"{tmp_path}/x{{index}}.mp4"


def test_braces_in_folders_are_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "{odd}"
    folder.mkdir()
    monkeypatch.chdir(folder)
    job = templates.local(Job(name="a", source="a.mp4", template="o/{index}.mp4"))
    assert job.template is not None
    assert job.template.format(index=3) == f"{folder}/o/3.mp4"
    assert templates.roots([job]) == [str(folder)]


def test_a_linked_input_keeps_the_name_that_was_typed(tmp_path: Path) -> None:
    (tmp_path / "blob{1}").touch()
    (tmp_path / "film.mp4").symlink_to(tmp_path / "blob{1}")
    (job,) = pair([str(tmp_path / "film.mp4")], f"{tmp_path}/{{stem}}{{{{stem}}}}-{{index}}.mp4")
    made = templates.local(job)
    assert made.source == str(tmp_path / "blob{1}")
    assert made.template == f"{tmp_path}/film{{{{stem}}}}-{{index}}.mp4"


def test_uris_pass_through() -> None:
    job = Job(name="a", source="s3://b/a.mp4", template="gs://b/{index}.mp4")
    assert templates.local(job) == job
    assert templates.roots([job]) == []


@given(st.text(alphabet="ab/{}.", max_size=20))
def test_a_template_is_its_folders_and_the_rest(template: str) -> None:
    folder, rest = templates.split_template(template)
    assert folder == "" or folder.endswith("/")
    assert template.endswith(rest)
    assert folder.replace("{", "{{").count("{{") == template[: len(template) - len(rest)].count(
        "{{"
    )
