"""Commands that look at things."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sitsfusion.cli import main

COMMANDS = ("fuse", "plan", "demo", "methods", "sensors", "doctor", "info", "fetch")


@pytest.mark.smoke
@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_short_and_has_an_example(run, command: str) -> None:
    ran = run(command, "--help")
    assert ran.code == 0
    assert f"Example: sitsfusion {command}" in ran.out
    assert len(ran.out.rstrip().splitlines()) <= 40


def test_help_documents_exit_codes(run) -> None:
    assert "Exit codes" in run("--help").out


def test_methods_are_listed_and_cited(run) -> None:
    assert {"naive", "closest", "tamrfsits"} <= {card["name"] for card in json.loads(run("methods", "--json").out)}
    assert "Michel" in run("methods", "--cite").out
    assert "max_masked_share" in run("methods", "closest").out


def test_sensors_are_listed_and_shown(run) -> None:
    assert "landsat-8-9-c2-l2" in run("sensors").out
    shown = run("sensors", "sentinel-2-l2a").out
    assert "B8A" in shown
    assert "SCL" in shown


def test_unknown_names_say_what_is_known(run) -> None:
    ran = run("sensors", "spot-9")
    assert ran.code == 3
    assert "sentinel-2-l2a" in ran.err
    assert "Traceback" not in ran.err


def test_fetch_lists_what_there_is(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SITSFUSION_HOME", str(tmp_path))
    entries = json.loads(run("fetch", "--json").out)
    assert {"tamrfsits-v1", "tamrfsits-v2"} <= {entry["name"] for entry in entries}
    assert all(entry["local"] is None for entry in entries)


def test_doctor_writes_a_scene_that_info_reads(run, folders: Path, tmp_path: Path) -> None:
    scene = tmp_path / "scene.yaml"
    ran = run("doctor", folders / "sentinel2", folders / "landsat", "--write", scene)
    assert ran.code == 0, ran.out + ran.err
    described = json.loads(run("info", scene, "--json").out)
    assert described["fine"]["sensor"] == "sentinel-2-l2a"
    assert described["coarse"]["sensor"] == "landsat-8-9-c2-l2"


def test_info_of_nothing(run, tmp_path: Path) -> None:
    ran = run("info", tmp_path / "absent")
    assert ran.code == 3
    assert "does not exist" in ran.err


def test_the_command_starts_without_torch() -> None:
    """Help must be quick: no command module imports torch before it is called."""
    script = "import sys, sitsfusion.cli.main; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "False\n"
    )


def test_an_error_of_the_file_system_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sys.modules["sitsfusion.cli.main"], "app", lambda: (tmp_path / "file" / "run").mkdir())
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3
    assert "Not a directory" in capsys.readouterr().err
