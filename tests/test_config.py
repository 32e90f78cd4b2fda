"""Reading configurations: every fault at once, with file, key and a hint; reading never runs code."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from posesearch.config import apply_overrides, parse, parse_stored, to_plain
from posesearch.configfile import load_file
from posesearch.errors import ConfigError, DataError, UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    size: tuple[int, int] = (1, 2)
    choices: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Outer:
    name: str
    rate: float = 0.5
    count: int = 1
    on: bool = False
    mode: Literal["a", "no"] = "a"
    maybe: int | None = None
    inner: Inner = field(default_factory=Inner)


def problems(values: object) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(Outer, values, "file.yaml")
    return str(caught.value)


def test_round_trip() -> None:
    value = Outer(name="x", maybe=3, inner=Inner(size=(4, 5), choices=(0.5, 1.0)))
    assert parse(Outer, to_plain(value), "memory") == value


def test_whole_numbers_are_fine_where_a_number_is_wanted() -> None:
    assert parse(Outer, {"name": "x", "rate": 2}, "f").rate == 2.0


def test_all_faults_are_named_at_once() -> None:
    text = problems(
        {"naem": "x", "rate": "1e-3", "count": True, "on": "yes", "inner": {"size": [1], "choices": [1, "a"]}}
    )
    assert text.startswith("file.yaml: 7 problems found:")
    assert "naem: unknown key. Did you mean 'name'? Allowed here: name, rate, count" in text
    assert "name: missing; it has no default." in text
    assert "rate: got '1e-3', expected a number. YAML 1.1 reads 1e-3 as text: write 0.001." in text
    assert "count: got True, expected a whole number." in text
    assert "on: got 'yes', expected true or false. Write true or false without quotes." in text
    assert "inner.size: got 1 entries ([1]), expected 2." in text
    assert "inner.choices[1]: got 'a', expected a number." in text


def test_the_yaml_no_trap(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("name: no\nmode: no\n")
    text = problems(load_file(tmp_path / "s.yaml"))
    assert "name: got False, expected text. YAML 1.1 reads yes/no/on/off as true/false" in text
    assert "mode: got False, expected one of a, no. YAML reads off/no as false" in text


@pytest.mark.parametrize("values", [[], "text", None, 3])
def test_not_a_mapping(values: object) -> None:
    assert "top level: got" in problems(values)


def test_base_files_are_inherited(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("name: base\nrate: 0.25\ninner: {size: [3, 4]}\n")
    (tmp_path / "child.yaml").write_text("_base_: base.yaml\nname: child\n")
    value = parse(Outer, load_file(tmp_path / "child.yaml"), "child")
    assert value == Outer(name="child", rate=0.25, inner=Inner(size=(3, 4)))


@pytest.mark.parametrize(
    "form", ["_base_: evil.py\n", "_base_: [ok.yaml, evil.py]\n", "_base_:\n  - evil.py\n"]
)
def test_a_python_base_is_refused_and_not_run(tmp_path: Path, form: str) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    (tmp_path / "ok.yaml").write_text("name: ok\n")
    (tmp_path / "child.yaml").write_text(form + "name: child\n")
    with pytest.raises(UsageError, match=r"'evil.py' is a Python file. Only YAML and JSON"):
        load_file(tmp_path / "child.yaml")
    assert not marker.exists()


def test_a_python_base_behind_a_json_base_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    (tmp_path / "middle.json").write_text('{"_base_": "evil.py", "name": "x"}')
    (tmp_path / "child.yaml").write_text("_base_: middle.json\n")
    with pytest.raises(UsageError, match="executed"):
        load_file(tmp_path / "child.yaml")
    assert not marker.exists()


@pytest.mark.parametrize("file", ["child.yaml", "base.yaml"])
def test_a_code_tag_is_refused_and_not_run(tmp_path: Path, file: str) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "base.yaml").write_text("rate: 0.25\n")
    (tmp_path / "child.yaml").write_text("_base_: base.yaml\nname: x\n")
    with (tmp_path / file).open("a") as stream:
        stream.write(f"maybe: !!python/object/apply:os.mkdir [{str(marker)!r}]\n")
    with pytest.raises(UsageError, match=r"could not determine a constructor for the tag .*os\.mkdir"):
        load_file(tmp_path / "child.yaml")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("base", "says"),
    [
        ("child.yaml", "_base_ leads back to the file itself"),
        ("gone.yaml", "_base_ file .*gone.yaml does not exist"),
        ("mmpose::x.yaml", "'mmpose::x.yaml' is no path"),
        ("{a: 1}", "is no path. Allowed: one path or a list of them"),
        ("notes.txt", "'notes.txt' has another suffix"),
    ],
)
def test_a_base_must_be_another_plain_file(tmp_path: Path, base: str, says: str) -> None:
    (tmp_path / "child.yaml").write_text(f"_base_: {base}\nname: x\n")
    with pytest.raises(UsageError, match=says):
        load_file(tmp_path / "child.yaml")


def test_variables_of_mmengine_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATE", "0.25")
    (tmp_path / "a.yaml").write_text("name: '{{$RATE:1}}'\n")
    assert load_file(tmp_path / "a.yaml")["name"] == "{{$RATE:1}}"
    (tmp_path / "a.yaml").write_text("name: '{{_base_.rate}}'\n")
    with pytest.raises(UsageError, match=r"a.yaml: '{{ _base_... }}' is not read. Write the value itself"):
        load_file(tmp_path / "a.yaml")


def test_values_are_checked_together_beside_an_unknown_key() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Pair:
        low: int
        high: int

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ConfigError("pair", ["low: above high."])

    with pytest.raises(ConfigError) as caught:
        parse(Pair, {"low": 2, "high": 1, "hgih": 3}, "f")
    assert len(caught.value.problems) == 2


def test_file_faults(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing.yaml does not exist"):
        load_file(tmp_path / "nothing.yaml")
    (tmp_path / "a.py").write_text("")
    with pytest.raises(UsageError, match=r"Allowed suffixes: .yaml, .yml, .json"):
        load_file(tmp_path / "a.py")
    for text in ("a: [1, 2\nb: }", "- 1\n- 2\n", ""):
        (tmp_path / "broken.yaml").write_text(text)
        with pytest.raises(UsageError, match=r"broken.yaml"):
            parse(Outer, load_file(tmp_path / "broken.yaml"), "broken.yaml")


def test_overrides() -> None:
    value = apply_overrides(
        Outer(name="x"), ("inner.size=[7, 8]", "rate=1e-3", "name=new", "on=true", "mode=no")
    )
    assert value == Outer(name="new", rate=0.001, on=True, mode="no", inner=Inner(size=(7, 8)))
    with pytest.raises(UsageError, match=r"'rate' is not of the form key=value"):
        apply_overrides(Outer(name="x"), ("rate",))
    with pytest.raises(ConfigError, match=r"inner.sise: unknown key. Did you mean 'size'"):
        apply_overrides(Outer(name="x"), ("inner.sise=3",))
    with pytest.raises(ConfigError, match=r"rate.x: 'rate' is one value without keys. Write rate=VALUE"):
        apply_overrides(Outer(name="x"), ("rate.x=3",))
    with pytest.raises(ConfigError, match=r"outer: unknown key."):
        apply_overrides(Outer(name="x"), ("outer.size=3",))


def test_stored_values_fail_as_data() -> None:
    with pytest.raises(DataError, match="changed or written by another version"):
        parse_stored(Outer, {"nmae": 1}, "run.json")


def test_a_grammar_cache_that_is_being_written_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins

    real, failures = builtins.__import__, [EOFError("Ran out of input")]

    def busy(name: str, *args: Any, **options: Any) -> Any:
        if name == "mmengine.config" and failures:
            raise failures.pop()
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", busy)
    (tmp_path / "s.yaml").write_text("name: x\n")
    assert load_file(tmp_path / "s.yaml") == {"name": "x"}
    assert not failures
