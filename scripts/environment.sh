# Sourced by demo.sh and test.sh: finds Python, makes the environment once, installs only what changed.
#
# PYTHON  the interpreter to use           VENV   the environment's folder (default .venv)
# TORCH   the torch requirement            (default: the version in constraints.txt)

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.12 python3.11 python; do
    # Version managers install names that exist but do not run: ask, do not look.
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "error: Python 3.11 or 3.12 is needed and none was found (tried: ${PYTHON:+$PYTHON, }python3, python3.12, python3.11, python)." >&2
  echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv), or name it: PYTHON=/path/to/python3.12 bash $0" >&2
  return 5
}

# make_environment EXTRAS: EXTRAS is "" or a list such as "dev,onnx"
make_environment() {
  local extras="$1" python pinned torch stamp wanted
  VENV="${VENV:-.venv}"
  if ! "$VENV/bin/python" -c '' 2>/dev/null; then
    python="$(find_python)" || return
    echo "making the environment $VENV with $("$python" --version)"
    "$python" -m venv --clear "$VENV" || {
      echo "error: $python cannot make an environment. Install its venv package (Debian, Ubuntu: apt-get install python3-venv)." >&2
      return 5
    }
  fi
  pinned="$(grep "^torch==" constraints.txt)"
  torch="${TORCH:-$pinned}"
  stamp="$VENV/.installed${extras:+-$extras}"
  wanted="$torch $(pwd) $(cat pyproject.toml constraints.txt | cksum)"
  if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    return
  fi
  echo "installing posesearch${extras:+ with $extras} into $VENV (several minutes the first time)"
  # torch comes first and by version: a later bare "torch" would take the newest build with gigabytes of CUDA packages.
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "$torch" || return
  grep -v '^torch==' constraints.txt > "$VENV/constraints.txt"
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
    -c "$VENV/constraints.txt" -e ".${extras:+[$extras]}" || return
  echo "$wanted" > "$stamp"
}
