"""A file's SHA-256 is OpenSSL's, whoever computes it."""

import hashlib
import subprocess
import sys

import pytest

from fti_assets.stores.models import hashes


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 2**20 - 1, 2**20, 2**20 + 1])
def test_hash_is_that_of_hashlib(size):
    content = bytes(range(256)) * (size // 256 + 1)
    assert hashes.sha256_of(content[:size]) == hashlib.sha256(content[:size]).hexdigest()


def test_hash_is_the_same_where_python_has_no_module_of_its_own(monkeypatch):
    monkeypatch.setitem(sys.modules, "_sha2", None)
    monkeypatch.setitem(sys.modules, "_sha256", None)
    assert hashes.sha256_of(b"abc") == hashlib.sha256(b"abc").hexdigest()


def test_an_app_loads_neither_openssl_nor_decimals_with_a_predictors_modules():
    program = "import sys, fti_assets.inference.serving.predictor; print(sorted({'hashlib', '_hashlib', 'decimal'} & {*sys.modules}))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
