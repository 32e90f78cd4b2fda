#!/usr/bin/env bash
# The demo on a machine with only Python 3.11 or 3.12 and pip: makes .venv, installs, runs `posesearch demo`.
# Options are passed on (bash scripts/demo.sh --fresh). A second run skips the installation.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

make_environment ""
"$VENV/bin/posesearch" demo "$@"
echo "to use the commands in this shell: source $VENV/bin/activate" >&2
