#!/usr/bin/env bash
# notebooks/test.sh [--torch] [--update]: runs the notebooks and the tests of the Python package in their own Python environment;
# closes with "N passed, N failed". --torch adds the tests that load our exports with Hugging Face transformers (5 GB of packages);
# --update writes the outputs of the run into the notebooks.
source "$(dirname "${BASH_SOURCE[0]}")/../bin/lib.sh"

# The first Python that is new enough and can make an environment.
find_python() {
    local python
    for python in python3 python3.13 python3.12 python3.11 python3.10 /usr/bin/python3; do
        if "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            echo "$python"
            return 0
        fi
    done
    return 1
}

# make_environment REQUIREMENTS...: the environment, made again when what goes into it has changed.
make_environment() {
    local python stamp pip=("$environment/bin/pip" install --disable-pip-version-check) log="$ROOT/target/notebooks-pip.log"
    stamp="$(cat "$@" | sha256sum)"
    if [ "$(cat "$environment/stamp" 2>/dev/null)" != "$stamp" ]; then
        find_python >/dev/null || install_packages python3 python3-venv
        python="$(find_python)" || die "The notebooks need Python 3.10 or later with its venv module: install python3-venv."
        say "Installing pyspark and Jupyter's tools from PyPI (log: target/notebooks-pip.log)"
        rm -rf "$environment"
        "$python" -m venv "$environment"
        "${pip[@]}" "${@/#/--requirement=}" >"$log" 2>&1 ||
            die "pip install of $* failed: see target/notebooks-pip.log"
        echo "$stamp" >"$environment/stamp"
    fi
    "${pip[@]}" --no-deps --force-reinstall "$ROOT/notebooks/python" >>"$log" 2>&1 ||
        die "pip install notebooks/python failed: see target/notebooks-pip.log"
}

environment="$ROOT/target/notebooks-environment"
requirements=("$ROOT/notebooks/requirements.txt")
update=()
for option in "$@"; do
    case "$option" in
        --torch) environment+=-torch requirements+=("$ROOT/notebooks/requirements-torch.txt") ;;
        --update) update=(--update) ;;
        *) die "notebooks/test.sh knows --torch and --update, and not '$option'." ;;
    esac
done
build
missing=()
find_python >/dev/null || missing+=(python3 python3-venv)
command -v bible >/dev/null || missing+=(bible-kjv)
if [ ${#missing[@]} -gt 0 ]; then install_packages "${missing[@]}"; fi
make_environment "${requirements[@]}"
BRAZIER_JAR="$(fat_jar)" SPARK_LOCAL_IP=127.0.0.1 PYTHONDONTWRITEBYTECODE=1 \
    "$environment/bin/python" "$ROOT/notebooks/test_notebooks.py" "${update[@]}"
