"""Plugins: names, imports, installed ones, and what is a plugin's."""

from pathlib import Path

import pytest

from stdo.core.plugins import LOADED, function, load, named, owner, refuse_missing
from stdo.core.types import UserError


def package(folder: Path, name: str, text: str = "") -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(text)


def install(folder: Path, distribution: str, *entries: str) -> None:
    """What pip leaves of a distribution with these entry points."""
    info = folder / f"{distribution}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[stdo.plugins]\n" + "\n".join(entries))


@pytest.mark.parametrize(
    ("text", "names"),
    [("", []), ("[]", []), ("one", ["one"]), ("[one]", ["one"]), ("[lab.two]", ["lab.two"]),
     ("'one, two'", ["one", "two"]), ("[one,one]", ["one"]), ('["one",two]', ["one", "two"])],
)  # fmt: skip
def test_names_are_read_as_people_type_them(text: str, names: list[str]) -> None:
    assert named(text) == names


@pytest.mark.parametrize("text", ["one,[two", "a/b", "3", "one.", "one;two", "../one"])
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"^plugins=.*: must be packages as Python imports them"):
        named(text)


def test_a_distribution_is_told_the_name_of_its_package() -> None:
    with pytest.raises(UserError, match=r"^plugins=my-net: must be .*; did you mean my_net\?$"):
        named("my-net")


BROKEN = {
    "absent": (None, r"no such package; install it, or put its folder on PYTHONPATH"),
    "absent.inner": (None, r"no such package; install it"),
    "raises": ("x = 1\nraise ValueError('two\\nlines')", r"\(ValueError: two lines, .*init__.py:2"),
    "lacks": ("import no_such_module", r"cannot be imported \(ModuleNotFoundError: .*no_such_mod"),
    "leaves": ("import sys\nsys.exit(3)", r"cannot be imported \(SystemExit: 3, "),
    "odd": ("def f(:", r"cannot be imported \(SyntaxError: "),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_plugin_that_cannot_be_imported_is_one_line(own_code: Path, name: str) -> None:
    text, said = BROKEN[name]
    if text is not None:
        package(own_code, name, text)
    with pytest.raises(UserError, match=rf"^plugins={name}: .*{said}") as caught:
        load([name])
    assert "\n" not in str(caught.value)
    assert name not in LOADED


def test_an_installed_plugin_is_loaded_by_itself_and_once(own_code: Path) -> None:
    package(own_code, "one", "import pathlib\npathlib.Path(__file__).with_name('ran').touch()")
    install(own_code, "one-dist", "first = one", "again = one")
    load([])
    assert list(LOADED)[-1] == "one" and (own_code / "one" / "ran").exists()
    (own_code / "one" / "ran").unlink()
    load(["one"])
    assert not (own_code / "one" / "ran").exists()


def test_two_installed_plugins_of_one_name_are_refused(own_code: Path) -> None:
    package(own_code, "one")
    package(own_code, "two")
    install(own_code, "a-dist", "mine = one")
    install(own_code, "b-dist", "mine = two")
    with pytest.raises(UserError, match="both install a plugin called mine .*: uninstall one$"):
        load([])


def test_an_entry_point_must_name_a_package(own_code: Path) -> None:
    install(own_code, "a-dist", "mine = one:function")
    with pytest.raises(UserError, match=r"mine of a-dist is one:function: must be the name of a"):
        load([])


def test_what_is_a_plugins(own_code: Path) -> None:
    package(own_code, "lab", "")
    package(own_code, "lab/inner", "def f(): pass\nnumber = 3\n")
    load(["lab", "lab.inner"])
    assert owner("lab.nets.Net") == "lab" and owner("lab.inner:f") == "lab.inner"
    assert owner("laboratory.Net") is None and owner("os.system") is None
    assert function("optim.loss", "lab.inner:f")() is None
    for place, said in {
        "os:system": "is of no plugin; plugins=os makes it one",
        "lab.inner:g": "must be package.module:function",
        "lab.none:f": "must be package.module:function",
        "lab.inner:number": "is not callable",
    }.items():
        with pytest.raises(UserError, match=f"^optim.loss={place}: {said}"):
            function("optim.loss", place)
    refuse_missing(own_code, ["lab"])
    with pytest.raises(UserError, match=r"with the plugin gone, .*; plugins=\[lab,gone\] imports"):
        refuse_missing(own_code, ["lab", "gone"])
