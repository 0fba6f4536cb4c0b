"""The notebook runs from top to bottom on the embedded servers, and what is stored of it is fit to be shown.

`ARROWSEAL_TEST_STORE_TOUR=1 python -m pytest tests/examples/test_tour.py` stores the outputs of the run: the charts
show how quick the machine is, so let it do nothing else meanwhile.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbclient import NotebookClient

if TYPE_CHECKING:
    from collections.abc import Iterator

TOUR = Path(__file__).with_name("tour.ipynb")
STORE = os.environ.get("ARROWSEAL_TEST_STORE_TOUR") == "1"
KERNEL = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
}
OF_A_MACHINE = re.compile(
    r"/(?:home|root|tmp|usr|opt|work|Users|private)/|127\.0\.0\.1|localhost|site-packages|\bport\b"
)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(cell: Any) -> Iterator[str]:
    """What a cell printed, which comes in one piece or several, and what it gave, as text."""
    yield "".join(output.text for output in cell.outputs if output.output_type == "stream")
    for output in cell.outputs:
        if output.output_type != "stream":
            yield from (text for kind, text in output.get("data", {}).items() if kind.startswith("text/"))


def images(cell: Any) -> int:
    return sum("image/png" in output.get("data", {}) for output in cell.outputs)


@pytest.fixture(scope="module")
def stored() -> Any:
    return nbformat.read(TOUR, as_version=4)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The notebook after a run in a kernel of its own, which raises for the first cell that fails."""
    notebook, home = nbformat.read(TOUR, as_version=4), tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR", "MPLCONFIGDIR"):
            patch.setenv(name, str(home))
        patch.setenv("MOTO_ACCOUNT_ID", "111122223333")
        NotebookClient(notebook, timeout=120, kernel_name="python3", record_timing=False).execute(cwd=str(home))
    notebook.metadata = KERNEL
    nbformat.validate(notebook)
    if STORE:
        nbformat.write(notebook, TOUR)
    return notebook


def test_every_cell_runs_and_the_charts_are_there(ran: Any) -> None:
    assert [cell.execution_count for cell in code_cells(ran)] == list(range(1, len(code_cells(ran)) + 1))
    assert sum(map(images, code_cells(ran))) == 2
    assert not [output for cell in code_cells(ran) for output in cell.outputs if output.get("name") == "stderr"]


def test_what_does_not_depend_on_machine_or_keys_is_as_it_is_stored(ran: Any, stored: Any) -> None:
    checked = 0
    for now, then in zip(code_cells(ran), code_cells(stored), strict=True):
        if "same" in now.metadata.get("tags", ()):
            assert sorted(texts(now)) == sorted(texts(then)), now.source
            checked += 1
    assert checked == 10


def test_the_stored_notebook_has_outputs_and_nothing_of_the_machine_that_made_them(stored: Any) -> None:
    assert stored.metadata == KERNEL
    cells = code_cells(stored)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "stored after a whole run"
    assert sum(map(images, cells)) == 2
    for cell in cells:
        for text in (cell.source, *texts(cell)):
            assert not OF_A_MACHINE.search(text), cell.source
            assert set(re.findall(r"\b\d{12}\b", text)) <= {"111122223333"}
