#!/usr/bin/env bash
# Linters, types and tests in an environment of their own (VENV, default .venv), made if it is missing.
# Options go to pytest (bash scripts/test.sh -m "not slow"). Real images are used where POSESEARCH_DATA names them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

make_environment "dev,onnx"
bin="$VENV/bin"
"$bin/ruff" check .
"$bin/ruff" format --check .
"$bin/mypy"
# One thread a worker: two workers with two OpenMP threads each are several times slower on two cores.
OMP_NUM_THREADS=1 "$bin/python" -m pytest -q -n "${WORKERS:-2}" "$@"
