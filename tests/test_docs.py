"""What is written holds: docstrings, README, examples, changelog."""

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ESTIMATORS
from numpydoc import docscrape, validate

import sk_autoencoder
from sk_autoencoder import ConvAutoencoderTransformer, DenoisingAutoencoder

ROOT = Path(__file__).parents[1]
CLASSES = [ConvAutoencoderTransformer, DenoisingAutoencoder]


def public(cls):
    return [None] + [
        name
        for name, member in inspect.getmembers(cls)
        if not name.startswith("_")
        and (callable(member) or isinstance(member, property))
    ]


@pytest.mark.parametrize(
    ("cls", "method"), [(cls, name) for cls in CLASSES for name in public(cls)]
)
def test_numpydoc(cls, method):
    path = ".".join(filter(None, (cls.__module__, cls.__name__, method)))
    # what scikit-learn leaves out for its own classes
    ignored = {"RT02", "GL01", "GL02"}
    if method is not None:
        ignored |= {"EX01", "SA01", "ES01"}
        if isinstance(getattr(cls, method), property):
            ignored |= {"PR02", "GL08"}
    errors = validate.validate(path)["errors"]
    assert [error for error in errors if error[0] not in ignored] == []


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_every_fitted_attribute_is_documented_and_there(kind, X):
    pd = pytest.importorskip("pandas")
    cls, fixed = ESTIMATORS[kind]
    frame = pd.DataFrame(X, columns=[f"pixel{i}" for i in range(64)])
    ae = cls(**fixed, n_components=3, max_epochs=1).fit(frame)
    documented = {attribute.name for attribute in docscrape.ClassDoc(cls)["Attributes"]}
    fitted = {name for name in vars(ae) if name.endswith("_") and name[0] != "_"}
    properties = {
        name
        for name, member in inspect.getmembers(cls)
        if isinstance(member, property) and name.endswith("_") and name[0] != "_"
    }
    assert documented == fitted | properties


def test_the_estimators_describe_a_shared_parameter_in_the_same_words():
    conv, denoising = (
        {p.name: (p.type, p.desc) for p in docscrape.ClassDoc(cls)["Parameters"]}
        for cls in CLASSES
    )
    assert conv.pop("transform_max_iter")  # towards the noise it would be
    assert {name: denoising[name] for name in conv} == conv


@pytest.mark.parametrize("cls", CLASSES)
def test_documented_defaults_are_the_defaults(cls):
    signature = inspect.signature(cls)
    for parameter in docscrape.ClassDoc(cls)["Parameters"]:
        stated = parameter.type.rsplit("default=", 1)[1]
        assert ast.literal_eval(stated) == signature.parameters[parameter.name].default


BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)


def test_readme_blocks_run_in_order(tmp_path, monkeypatch):
    assert BLOCKS
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    for block in BLOCKS:
        exec(block, namespace)


EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_short_and_say_what_they_do(path):
    source = path.read_text()
    assert re.match(r"\d\d_\w+\.py", path.name)
    assert len(source.splitlines()) <= 80
    assert ast.get_docstring(ast.parse(source)).splitlines()[0]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_run(path, tmp_path):
    run = subprocess.run(
        [sys.executable, path, "--epochs", "1", "--out", "picture.png"],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if "neither on disk nor to be had" in run.stderr:
        pytest.skip(run.stderr)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "picture.png").stat().st_size > 10_000


def test_contributing_lists_the_files_in_the_order_of_their_imports():
    lines = (ROOT / "CONTRIBUTING.md").read_text().splitlines()
    first_cells = [line.split("|")[1] for line in lines if line.startswith("| `")]
    listed = [name for cell in first_cells for name in re.findall(r"`(\w+)\.py`", cell)]
    package = Path(sk_autoencoder.__file__).parent
    there = {path.stem for path in package.glob("*.py")} - {"__init__"}
    assert set(listed) >= there
    for i, name in enumerate(listed):
        if name not in there:
            continue
        tree = ast.parse((package / f"{name}.py").read_text())
        imported = {
            node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.level == 1
        }
        assert imported <= set(listed[:i]), name


def test_changelog_names_the_version():
    assert f"## {sk_autoencoder.__version__}" in (ROOT / "CHANGES.md").read_text()
