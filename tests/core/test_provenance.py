"""What a result says of the machine that it was made on."""

from pathlib import Path

import pytest

from stdo.core.provenance import provenance

X86 = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: Acme 9\n\n"
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nCPU implementer\t: 0x41\n\n"


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (X86, "Acme 9 (family 25, model 17)"),
        (X86 * 2, "Acme 9 (family 25, model 17)"),
        (X86.replace("cpu family", "x"), "Acme 9"),
        (X86.replace("model\t\t: 17\n", ""), "Acme 9"),
        (X86.replace("model name", "x"), "other (family 25, model 17)"),
        (ARM, "other"),
        ("", "other"),
        (None, "other"),
    ],
)
def test_the_processor_is_named_by_what_is_known(
    cpuinfo, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(self: Path, *_: object, **__: object) -> str:
        assert str(self) == "/proc/cpuinfo"
        if cpuinfo is None:
            raise FileNotFoundError(self)
        return cpuinfo

    monkeypatch.setattr("stdo.core.provenance._git", lambda *_: None)
    monkeypatch.setattr("platform.processor", lambda: "other")
    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1")
    assert provenance(["train.py"])["machine"]["processor"] == expected
