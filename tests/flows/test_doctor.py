"""The doctor finds what is wrong and says what to do; it never fails itself."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tomllib
import types
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from posesearch.cli.app import main
from posesearch.flows import doctor as machine
from posesearch.flows import installation
from posesearch.flows.doctor import doctor

NAMES = ["libGL", "device", "threads", "load", "write access", "search spaces", "recipes", "tiny forward"]
RUNTIMES = ["compile", "onnxruntime", "tensorrt"]


def test_a_healthy_machine_has_no_failed_check(tmp_path: Path) -> None:
    checks = {check.name: check for check in doctor(device="cpu", folder=tmp_path)}
    assert [check for check in checks.values() if check.status == "fail"] == []
    assert {"python", *NAMES, *RUNTIMES} <= set(checks)
    assert all(check.remedy for check in checks.values() if check.status != "ok")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_device_is_a_failed_check_and_exit_code_5(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--device", "cuda:63", "--json"]) == 5
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    failed = {check["name"]: check for check in document["checks"] if check["status"] == "fail"}
    # Its report, and the two keys of every failure.
    assert (document["ok"], document["exit_code"]) == (False, 5)
    assert document["error"] == "Failed: device, tiny forward. Each has its remedy under 'checks'."
    assert captured.err.rstrip().endswith(f"error: {document['error']}")
    assert set(failed) == {"device", "tiny forward"}
    assert "--device 'cuda:63' is not there" in failed["device"]["detail"]


def test_every_declared_package_is_known_by_its_module() -> None:
    text = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text()
    wanted = [Requirement(line) for line in tomllib.loads(text)["project"]["dependencies"]]
    checks = [installation.check_package(each.name, each.specifier) for each in wanted]
    assert {check.name: check.detail for check in checks if check.status == "fail"} == {}


def test_an_old_package_names_the_install_line() -> None:
    check = installation.check_package("numpy", SpecifierSet(">=99"))
    assert (check.status, check.remedy) == ("fail", "pip install 'numpy>=99'")
    assert check.detail.endswith("needs >=99")


def test_a_package_that_is_not_there() -> None:
    check = installation.check_package("no-such-package-here", SpecifierSet(">=1"))
    assert check.status == "fail"
    assert "ModuleNotFoundError" in check.detail
    assert check.remedy == "pip install 'no-such-package-here>=1'"


def test_opencv_without_libgl_gets_its_own_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_name: str) -> None:
        raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(installation.importlib, "import_module", fail)
    check = installation.check_package("opencv-python-headless", SpecifierSet(">=4"))
    assert check.status == "fail"
    assert "opencv-python-headless" in check.remedy
    assert "libgl1" in check.remedy


def test_two_builds_of_opencv_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation.importlib.metadata, "version", lambda _name: "5.0")
    check = installation.check_libgl()
    assert check.status == "warn"
    assert "4 builds in one environment" in check.detail
    assert "pip uninstall all of them" in check.remedy


def test_an_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    check = installation.check_python()
    assert (check.status, check.detail) == ("fail", "3.10.1")
    assert "Python 3.11 or 3.12" in check.remedy


def test_a_busy_machine_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (50.0, 1.0, 1.0))
    check = machine.check_load()
    assert check.status == "warn"
    assert "it measures latency" in check.remedy


def test_more_threads_than_cores_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 0)
    assert machine.check_threads().remedy.startswith("Set OMP_NUM_THREADS=0")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    check = machine.check_write_access(file)
    assert check.status == "fail"
    assert check.remedy == "Work in a folder you can write to."


def test_a_full_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1e9})()
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _path: usage)
    check = machine.check_write_access(tmp_path)
    assert check.status == "warn"
    assert "only 1.0 GB free" in check.detail


def test_a_broken_space_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "mine.yaml").write_text("nam: mine\n")
    monkeypatch.chdir(tmp_path)
    check = installation.check_spaces()
    assert check.status == "fail"
    assert check.detail.startswith("mine: ")


def test_a_check_that_breaks_is_a_failed_check() -> None:
    def broken() -> installation.Check:
        raise RuntimeError("out of luck")

    check = machine._guarded("tiny forward", broken)
    assert (check.status, check.detail) == ("fail", "RuntimeError: out of luck")


def test_onnxruntime_is_listed_with_its_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.SimpleNamespace(
        __version__="1.99", get_available_providers=lambda: ["AProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check = installation.check_onnxruntime()
    assert (check.status, check.detail) == ("ok", "1.99: AProvider, CPUExecutionProvider")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    check = installation.check_onnxruntime()
    assert check.status == "warn"
    assert "pip install onnxruntime-gpu" in check.remedy


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("onnxruntime", "pip install 'posesearch[onnx]'"), ("tensorrt", "pip install tensorrt")],
)
def test_a_runtime_that_is_not_installed(name: str, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    check = getattr(installation, f"check_{name}")()
    assert check.status == "warn"
    assert check.detail == f"--runtime {name} cannot be used: not installed"
    assert remedy in check.remedy


def test_tensorrt_is_no_fault_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert installation.check_tensorrt().status == "ok"


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    check = installation.check_compile()
    assert check.status == "warn"
    assert "apt-get install g++" in check.remedy
