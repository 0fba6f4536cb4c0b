"""What `import arrowseal` costs, what is exported, and in which direction modules import each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import arrowseal

PACKAGE = Path(arrowseal.__file__).parent

# Each layer may import from itself and from those below it: the order of design, from the top down.
LAYERS = [
    {"cli", "__main__"},
    {"bench"},
    {"local"},
    {"aio"},
    {"arrow", "pandas", "polars"},
    {"athena", "operations", "trail", "trail_records"},
    {"tables"},
    {"fs"},
    {"defaults"},
    {"client"},
    {"configured"},
    {"listing"},
    {"object_writer", "object_reader"},
    {"opening"},
    {"reading", "writing"},
    {"objects"},
    {"companions"},
    {"segment_index"},
    {"copying"},
    {"sealing", "upload", "instruction_file"},
    {"aws_services"},
    {"lanes"},
    {"connections", "head", "keyrings", "outgoing"},
    {"store_obstore"},
    {"store_lean"},
    {"store_boto3", "store_lean_listing"},
    {"store_boto3_attributes"},
    {"store_boto3_uploads"},
    {"boto3_bodies", "s3_errors"},
    {"retrying", "envelope"},
    {"store"},
    {"several_keyrings", "kms_keyring"},
    {"kms_requests", "raw_keyring"},
    {"raw_key"},
    {"keyring", "options"},
    {"discovery"},
    {"materials", "metadata", "credentials", "wirelog"},
    {"interop"},
    {"data_keys", "transfer"},
    {"in_flight"},
    {"encryption", "counters", "comparison", "binding", "prefix_keys"},
    {"progress"},
    {"retries"},
    {"learnt_endpoints", "server_clock"},
    {"idle_connections", "signatures"},
    {"emr", "location", "extras", "cancellation", "text_tables", "frames", "kms_counts", "outcomes", "standby"}
    | {"fork_lock", "authorities", "no_connection", "local_files", "etags", "awaited_answers"},
    {"suites", "legacy", "flat_json"},
    {"exceptions", "_core"},
]
LAYER_OF = {name: depth for depth, layer in enumerate(LAYERS) for name in layer}


def imports_at_run_time(path: Path) -> list[tuple[str, bool]]:
    """Modules that a file imports, and whether at its top; what only type checkers see is left out."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    top = {id(node) for node in tree.body}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "arrowseal" else []
            found += [(name, id(node) in top) for name in names or [node.module]]
    return found


def modules() -> list[tuple[str, Path]]:
    # Contestants of the benchmark are programs of their own, some of them for environments without arrowseal.
    paths = sorted(path for path in PACKAGE.rglob("*.py") if "contestants" not in path.parts)
    paths.remove(PACKAGE / "__init__.py")
    return [(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path) for path in paths]


def test_every_module_has_its_layer() -> None:
    assert {name for name, _ in modules()} <= LAYER_OF.keys()


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: str(getattr(value, "stem", value)))
def test_imports_go_down_only(name: str, path: Path) -> None:
    for imported, _ in imports_at_run_time(path):
        if imported.startswith("arrowseal."):
            target = imported.split(".")[1]
            if target in LAYER_OF:
                assert LAYER_OF[target] >= LAYER_OF[name], f"{path.name} imports {imported}"


def test_boto3_is_imported_where_clients_are_made_and_nowhere_else() -> None:
    allowed = {
        "store_boto3",
        "store_boto3_attributes",
        "store_lean",
        "store_obstore",
        "boto3_bodies",
        "idle_connections",
        "signatures",
        "kms_requests",
        "connections",
        "aws_services",
        "server_clock",
        "local",
        "bench",
        "cli",
    }
    for name, path in modules():
        wanted = {imported.split(".")[0] for imported, _ in imports_at_run_time(path)}
        if wanted & {"boto3", "botocore"}:
            assert name in allowed, path


def test_no_module_imports_boto3_pandas_or_polars_at_its_top_except_their_faces() -> None:
    for name, path in modules():
        for imported, at_top in imports_at_run_time(path):
            package = imported.split(".")[0]
            if at_top and package in {"boto3", "botocore", "moto", "matplotlib"}:
                pytest.fail(f"{path.name} imports {package} when it is imported")
            if at_top and package in {"pandas", "polars"}:
                assert name == package


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_arrowseal_imports_no_table_library_and_no_boto3() -> None:
    loaded = run("import arrowseal, sys; print(*sys.modules)").split()
    assert not {"pandas", "polars", "boto3", "botocore", "pyarrow", "moto", "fsspec"} & set(loaded)


def test_a_client_is_built_without_importing_boto3() -> None:
    loaded = run("import arrowseal, sys; arrowseal.configure('alias/a'); print(*sys.modules)").split()
    assert "boto3" not in loaded


def test_submodules_are_there_after_import_arrowseal_alone() -> None:
    assert run("import arrowseal; print(arrowseal.arrow.read_table.__module__)").strip() == "arrowseal.arrow"


WITHOUT_EXTRAS = "import sys; sys.modules.update(dict.fromkeys(('pandas', 'polars', 'fsspec'))); "


@pytest.mark.parametrize("package", ["arrowseal", "arrowseal.aio", "arrowseal.fs"])
def test_names_are_looked_at_also_where_no_extra_is_installed(package: str) -> None:
    shown = run(
        f"{WITHOUT_EXTRAS}import inspect, pydoc, {package}; from {package} import *; inspect.getmembers({package}); "
        f"pydoc.render_doc({package}); print(*dir({package}))"
    )
    assert not {"pandas", "polars", "S3CseFileSystem"} & set(shown.split())


def test_only_public_names_are_listed() -> None:
    for package, more in (
        (arrowseal, {"pandas", "polars"}),
        (arrowseal.aio, {"pandas", "polars"}),
        (arrowseal.fs, {"S3CseFileSystem"}),
    ):
        assert {name for name in dir(package) if not name.startswith("__")} == {*package.__all__, *more}
    assert "__version__" in dir(arrowseal)


def test_every_exported_name_is_there_and_listed() -> None:
    assert sorted(arrowseal.__all__) == sorted(set(arrowseal.__all__))
    for name in arrowseal.__all__:
        assert getattr(arrowseal, name) is not None
        assert name in dir(arrowseal)
    with pytest.raises(AttributeError):
        arrowseal.no_such_name  # noqa: B018
