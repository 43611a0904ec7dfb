"""The tool that puts faults into the code: what it draws and tells, and leaves nothing behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from textwrap import dedent

import pytest

pytest.importorskip("cosmic_ray", reason="the extra `mutants` is not installed")
pytest.importorskip("pytest_cov", reason="the extra `mutants` is not installed")

from mutants.campaign import Outcome, false_alarms, learn, passed, run, shares
from mutants.places import Mutant, find, mutants, sample
from mutants.reach import Kept, Reach
from mutants.trial import Copy, copies

ROOT = Path(__file__).parents[3]

SOURCE = dedent('''\
    """A module: 1 < 2 and not 3."""

    from __future__ import annotations

    from dataclasses import dataclass

    Rows = list[int] | None
    LIMIT = 3


    @dataclass(frozen=True)
    class Value:
        size: int | None = None


    def enough(number: int | None, told: list[str]) -> bool | None:
        if number > LIMIT:
            told.append("enough")
            return True
        told.append(f"not {number + 1}")
        return False


    def never(number: int) -> int:
        return number + 1


    def forever(number: int) -> int:
        while number:
            number -= 1
        return number
    ''')

TESTS = dedent("""\
    import pytest
    from steering.judge.small import LIMIT, enough, forever


    def test_more_is_enough():
        told = []
        assert enough(4, told)
        assert told == ["enough"]


    def test_as_much_is_not_looked_at():
        assert not enough(1, [])


    @pytest.mark.parametrize("limit", [LIMIT])
    def test_the_limit(limit):
        assert limit == 3


    def test_it_ends():
        assert forever(2) == 0
    """)


def texts(source: str) -> set[str]:
    """The changed lines."""
    was = source.splitlines()
    return {
        " ".join(line.split())
        for mutant in mutants("steering/judge/small.py", source)
        for line, before in zip(mutant.source(source).splitlines(), was, strict=True)
        if line != before
    }


def test_faults_are_where_the_code_does_something() -> None:
    assert texts(SOURCE) == {
        "LIMIT = 4",
        "LIMIT = 2",
        "if not number > LIMIT:",
        "if number >= LIMIT:",
        "if number <= LIMIT:",
        "pass",
        "return False",
        "return True",
        "return number - 1",
        "return number + 2",
        "return number + 0",
        "while not number:",
        "number -= 2",
        "number -= 0",
    }


def test_the_star_of_arguments_multiplies_nothing() -> None:
    source = "def of(some, *, more):\n    return [*some, *map(lambda *all: all, more)]\n"
    assert texts(source) == set()


def test_a_part_of_a_folder_or_a_file_may_be_drawn_from() -> None:
    files = {one.file for one in find(ROOT, "judge/known")}
    assert files < {one.file for one in find(ROOT, "judge")}
    assert {one.file for one in find(ROOT, "judge/signals.py")} == {"steering/judge/signals.py"}


def test_each_fault_is_on_the_line_that_it_says() -> None:
    source = (ROOT / "steering/judge/known/recovery.py").read_text()
    for mutant in mutants("steering/judge/known/recovery.py", source):
        now = mutant.source(source)
        compile(now, mutant.file, "exec")
        pairs = zip(source.splitlines(), now.splitlines(), strict=True)
        changed = [number for number, (one, other) in enumerate(pairs, 1) if one != other]
        assert changed == [mutant.line], mutant


def mutant(folder: str, number: int, operator: str = "AddNot") -> Mutant:
    file = f"steering/{folder}/small.py"
    return Mutant(file=file, operator=operator, occurrence=number, line=number, column=0)


def test_the_same_seed_draws_the_same_mutants_evenly_by_folder() -> None:
    found = {name: [mutant(name, number) for number in range(50)] for name in ("judge", "act")}
    found["engine"] = [mutant("engine", 0)]
    drawn = sample(found, 21, seed=3)
    assert drawn == sample(found, 21, seed=3)
    assert drawn != sample(found, 21, seed=4)
    assert len(set(drawn)) == 21
    assert {name: sum(one.folder == name for one in drawn) for name in found} == {
        "judge": 10,
        "act": 10,
        "engine": 1,
    }


def test_a_place_with_many_operators_is_drawn_once() -> None:
    many = [mutant("judge", 7, operator) for operator in ("AddNot", "NumberReplacer", "Other")]
    drawn = sample({"judge": [*many, mutant("judge", 8)]}, 10, seed=1)
    assert sorted(one.line for one in drawn) == [7, 8]


def test_the_quickest_tests_come_first_and_patience_ends() -> None:
    names = [f"t{number}" for number in range(60)]
    reach = Reach(times={name: 1.0 + number for number, name in enumerate(names)})
    first, rest = reach.batches(names, patience=90.0)
    assert first == names[:40]
    assert rest == names[40:42]  # 41 and 42 seconds


def test_one_of_each_parametrised_test_comes_before_another_of_the_same() -> None:
    quick, slow = [f"quick[{number}]" for number in range(80)], ["slow[a]", "slow[b]", "other"]
    times = dict.fromkeys(quick, 1.0) | dict.fromkeys(slow, 8.0)
    first, rest = Reach(times=times).batches([*quick, *slow], patience=30.0)
    assert first == quick[:40]
    assert rest == ["slow[a]", "other", "slow[b]", *quick[40:46]]


def test_tests_of_all_subjects_come_before_more_of_one() -> None:
    one = [f"one::{number}" for number in range(60)]
    times = dict.fromkeys(one, 1.0) | {"other::a": 8.0, "third::b": 9.0}
    first, rest = Reach(times=times).batches([*one, "other::a", "third::b"], patience=19.0)
    assert first == one[:40]
    assert rest == ["other::a", "third::b", "one::40", "one::41"]


def test_a_constant_is_tried_by_the_tests_of_its_module_and_then_of_those_that_import_it() -> None:
    reach = Reach(
        times={"own": 9.0, "other": 1.0, "far": 0.1},
        lines={
            "steering/judge/small.py": {4: {"own"}},
            "steering/act/user.py": {9: {"other", "own"}},
            "steering/act/stranger.py": {9: {"far"}},
        },
        importers={"steering/judge/small.py": {"steering/act/user.py"}},
    )
    source = "LIMIT = 3\n\ndef of():\n    return (\n        LIMIT\n        + 1\n    )\n"
    assert reach.tests(mutant("judge", 1), source) == ["own", "other"]
    assert reach.tests(mutant("judge", 6), source) == ["own"]  # of the same statement


def test_tests_of_files_that_import_the_module_come_first() -> None:
    reach = Reach(
        times={"tests/unit/test_far.py::quick": 0.1, "tests/unit/test_near.py::slow": 5.0},
        lines={
            "steering/judge/small.py": {
                5: {"tests/unit/test_far.py::quick", "tests/unit/test_near.py::slow"}
            }
        },
        importers={"steering/judge/small.py": {"tests/unit/test_near.py"}},
    )
    source = "LIMIT = 3\n\n\ndef of():\n    return LIMIT\n"
    found = reach.tests(mutant("judge", 5), source)
    assert found == ["tests/unit/test_near.py::slow", "tests/unit/test_far.py::quick"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in (
        ("steering/__init__.py", ""),
        ("steering/judge/__init__.py", ""),
        ("steering/judge/small.py", SOURCE),
        ("tests/unit/test_small.py", TESTS),
        ("tests/unit/test_wrong.py", "def test_wrong():\n    assert False\n"),
    ):
        file = tmp_path / "checkout" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "checkout"


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_what_is_noticed_is_killed_and_what_is_not_is_told(
    tree: Path, tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "free").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "free"))
    monkeypatch.setattr("mutants.trial.LEAST", 4.0)
    before = {file: file.read_bytes() for file in tree.rglob("*") if file.is_file()}
    said: list[str] = []
    free: SimpleQueue[Copy] = SimpleQueue()
    kept = Kept(tree, tmp_path / "kept")
    wanted = {
        "steering/judge/small.py:AddNot:0": "killed",
        "steering/judge/small.py:LeaveOutCall:0": "killed",
        "steering/judge/small.py:LeaveOutCall:1": "survived",  # what is told of too little
        "steering/judge/small.py:ReplaceComparisonOperator_Gt_GtE:0": "survived",  # 3 is not tried
        "steering/judge/small.py:NumberReplacer:0": "killed",  # and a test's name with it
        "steering/judge/small.py:ReplaceBinaryOperator_Add_Sub:1": "survived",  # never called
        "steering/judge/small.py:NumberReplacer:7": "killed",  # number -= 0
    }
    drawn = [one for one in find(tree, "judge") if one.name in wanted]
    with copies(tree, 1) as (copy,):
        free.put(copy)
        learn(kept, pool, free, said.append)
        outcomes = run(drawn, kept.reach(), pool, free, patience=60.0, say=said.append)
        checked = false_alarms(outcomes, copy, said.append)
    assert checked == outcomes
    named = {True: "killed", False: "survived"}
    assert {one.mutant.name: named[one.killed] for one in outcomes} == wanted
    why = {one.mutant.name.split(":", 1)[1]: one.why for one in outcomes}
    assert why["LeaveOutCall:0"] == "tests/unit/test_small.py::test_more_is_enough"
    assert why["ReplaceBinaryOperator_Add_Sub:1"] == "4 of 4 tests that reach it pass"
    assert why["ReplaceComparisonOperator_Gt_GtE:0"] == "2 of 2 tests that reach it pass"
    assert why["NumberReplacer:7"] == "over time"
    assert any("failing without a mutant: tests/unit/test_wrong.py" in line for line in said)
    assert before == {file: file.read_bytes() for file in tree.rglob("*") if file.is_file()}
    assert not list((tmp_path / "free").iterdir())
    assert Kept(tree, tmp_path / "kept").missing() == []
    (tree / "tests/unit/test_small.py").write_text(f"{TESTS}\n\ndef test_more():\n    pass\n")
    assert Kept(tree, tmp_path / "kept").missing() == ["tests/unit/test_small.py"]
    (tree / "steering/judge/small.py").write_text(f"{SOURCE}\n")
    assert Kept(tree, tmp_path / "kept").missing() == ["tests/unit/test_small.py"]
    (tree / "steering/config.py").touch()
    assert len(Kept(tree, tmp_path / "kept").missing()) == 2


def test_a_changed_helper_concerns_the_tests_that_import_it(tree: Path, tmp_path: Path) -> None:
    for name, text in (
        ("unit/near.py", "import far\n"),
        ("unit/far.py", ""),
        ("unit/other.py", ""),
        ("unit/test_small.py", f"from near import far\n{TESTS}"),
    ):
        (tree / "tests" / name).write_text(text)

    def changed(name: str) -> bool:
        before = Kept(tree, tmp_path)._state(tree / "tests/unit/test_small.py", ())
        (tree / "tests" / name).write_text("# changed\n")
        return Kept(tree, tmp_path)._state(tree / "tests/unit/test_small.py", ()) != before

    assert not changed("unit/other.py")
    assert changed("unit/far.py")


def test_a_line_that_no_test_reaches_is_tried_by_those_that_import_its_module() -> None:
    """It may run in a process that they start."""
    reach = Reach(
        times={"tests/unit/test_near.py::a": 1.0, "tests/unit/test_far.py::b": 1.0},
        importers={"steering/judge/small.py": {"tests/unit/test_near.py"}},
    )
    source = "def of():\n    return 1\n"
    assert reach.tests(mutant("judge", 2), source) == ["tests/unit/test_near.py::a"]


def test_a_test_that_waits_costs_little_of_the_patience(tree: Path, tmp_path: Path) -> None:
    file = tree / "tests/unit/test_small.py"
    busy = "\ndef test_busy():\n    began = time.process_time()\n"
    busy += "    while time.process_time() < began + 0.3:\n        pass\n"
    file.write_text(f"import time\n\ndef test_idle():\n    time.sleep(1.0)\n\n{busy}")
    kept = Kept(tree, tmp_path / "kept")
    with copies(tree, 1) as (copy,):
        assert not kept.learn(copy, "tests/unit/test_small.py")
    times = {name.rsplit("::")[-1]: taken for name, taken in kept.reach().times.items()}
    assert times["test_idle"] < 0.25 < times["test_busy"]


def test_a_test_that_fails_anyway_kills_nothing(tree: Path) -> None:
    shutil.rmtree(tree / "steering/judge")
    wrong = "tests/unit/test_wrong.py::test_wrong"
    claimed = Outcome(mutant=mutant("judge", 1), killed=True, why=wrong, by=wrong)
    with copies(tree, 1) as (copy,):
        (outcome,) = false_alarms([claimed], copy, lambda _: None)
    assert not outcome.killed


def test_shares_are_by_folder_and_92_percent_are_enough() -> None:
    outcomes = [
        Outcome(mutant=mutant("judge" if n < 50 else "act", n), killed=n >= 8, why="")
        for n in range(100)
    ]
    assert shares(outcomes) == {"judge": (50, 42), "act": (50, 50), "all": (100, 92)}
    assert passed(outcomes)
    assert not passed(outcomes[:-1])
