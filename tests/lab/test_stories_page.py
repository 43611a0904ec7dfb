"""The page in a real Chromium, from healthy to rolled back."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stage import EXPIRED, QUICK, on_stage, slack

from steering.lab.network.sandbox import PYTHON, find
from steering.lab.network.topology import EDGE
from steering.model import LOCAL

pytestmark = pytest.mark.lab

URL = "http://127.0.0.1:9353/"


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_an_incident_is_watched_from_healthy_to_rolled_back(tmp_path: Path) -> None:
    lacks = [name for name in ("chromium",) if find(name) is None]
    lacks += [name for name in ("playwright",) if importlib.util.find_spec(name) is None]
    if lacks:
        pytest.skip(f"no {' and no '.join(lacks)} here")
    with on_stage(replace(QUICK, hold="4s")) as stage:
        browser = Path(__file__).with_name("browser.py")
        argv = [PYTHON, str(browser), URL, str(tmp_path)]
        watching = stage.scene.world.start(EDGE, argv, log="browser")

        def words() -> list[str]:
            assert watching.running, watching.tail()
            return [line["word"] for line in lines(tmp_path / "seen")]

        stage.until(lambda: words() == ["All is well"], every=0.1)
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        moved = stage.await_routes(stage.through("pao"))
        stage.until(lambda: words()[-1] == "4 addresses steered", every=0.05)
        said = next(one for one in lines(tmp_path / "seen")[-1]["words"] if "4 " in one["word"])
        assert said["at"] - moved < 2 + slack()
        stage.scene.serve()
        stage.await_routes({})
        stage.until(lambda: words()[-1] == "All is well", every=0.05)
        (tmp_path / "stop").touch()
        stage.until((tmp_path / "over").exists, every=0.1)
        for line in lines(tmp_path / "seen"):
            assert line["axe"] == [], line["word"]
            assert line["errors"] == []
        assert lines(tmp_path / "seen")[0]["paint"][0] < 3000
