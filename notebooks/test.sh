#!/usr/bin/env bash
# notebooks/test.sh [--torch] [--update]: runs the notebooks and the tests of the Python package in their own Python environment;
# closes with "N passed, N failed". --torch adds the tests that load our exports with Hugging Face transformers (5 GB of packages);
# --update writes the outputs of the run into the notebooks.
source "$(dirname "${BASH_SOURCE[0]}")/../bin/lib.sh"

environment=notebooks-environment
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
command -v bible >/dev/null || install_packages bible-kjv
python_environment "$environment" "${requirements[@]}"
environment="$ROOT/target/$environment"
"$environment/bin/pip" install --disable-pip-version-check --no-deps --force-reinstall "$ROOT/notebooks/python" \
    >"$ROOT/target/notebooks-pip.log" 2>&1 || die "pip install notebooks/python failed: see target/notebooks-pip.log"
BRAZIER_JAR="$(fat_jar)" SPARK_LOCAL_IP=127.0.0.1 PYTHONDONTWRITEBYTECODE=1 \
    "$environment/bin/python" "$ROOT/notebooks/test_notebooks.py" "${update[@]}"
