"""The results folder of the smoke matrix, from the variable RTVIRT_TEST_RESULTS."""

import os
import sys
from pathlib import Path

import pytest

from rtvirt_runner import checkout
from rtvirt_runner.matrix import Catalogue, Lab, Matrix, load_matrix
from rtvirt_runner.results import Record, ResultsTree
from rtvirt_runner.runner import read_inventory

# For `import playing`: pytest's importlib mode leaves a test's own folder out of the import path.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def results() -> Path:
    folder = os.environ.get("RTVIRT_TEST_RESULTS")
    assert folder, "set RTVIRT_TEST_RESULTS to a results folder of the smoke matrix"
    return Path(folder)


@pytest.fixture(scope="session")
def matrix() -> Matrix:
    groups, hostvars = read_inventory(checkout.VIRTUAL_LAB)
    catalogue = Catalogue.load(checkout.VARS)
    return load_matrix(checkout.matrix_path("smoke"), Lab.from_inventory(groups, hostvars), catalogue)


@pytest.fixture(scope="session")
def records(results: Path) -> list[Record]:
    return ResultsTree(results).load_records("smoke")
