# Set-up shared by the commands of this directory. Source it; it changes nothing until a function is called.
# shellcheck shell=bash
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$*"
    exit 1
}

# install_packages PACKAGE...: from the distribution, as root or through sudo; otherwise one sentence that names them.
install_packages() {
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null && as_root=(sudo)
        if [ ${#as_root[@]} -eq 0 ] || { [ ! -t 0 ] && ! sudo -n true 2>/dev/null; }; then
            die "Missing packages: install $* as root (apt-get install $*) and run this command again."
        fi
    fi
    command -v apt-get >/dev/null || die "Missing tools, and this system has no apt-get: install what Debian calls $* and run this command again."
    say "Installing $*"
    {
        "${as_root[@]}" apt-get update -qq &&
            DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$@"
    } >"$ROOT/target/apt.log" 2>&1 || die "apt-get install $* failed: see $ROOT/target/apt.log"
}

# The JDK homes that might do, best first: the user's choice, then what Debian installs.
jdk_homes() {
    [ -n "${JAVA_HOME:-}" ] && echo "$JAVA_HOME"
    ls -d /usr/lib/jvm/java-17-* /usr/lib/jvm/java-21-* 2>/dev/null
    command -v javac >/dev/null && dirname "$(dirname "$(readlink -f "$(command -v javac)")")"
    return 0
}

# Spark's executors run on Java 17 and 21; later ones stop in Hadoop's login.
find_jdk() {
    local home
    while read -r home; do
        if [ -x "$home/bin/javac" ] && "$home/bin/javac" -version 2>&1 | grep -Eq '^javac (17|21)(\.|$)'; then
            export JAVA_HOME="$home"
            return 0
        fi
    done < <(jdk_homes)
    return 1
}

jdk_package() {
    if apt-cache show openjdk-17-jdk-headless >/dev/null 2>&1; then echo openjdk-17-jdk-headless; else echo openjdk-21-jdk-headless; fi
}

# Every tool of the build, installed where missing.
setup_tools() {
    mkdir -p "$ROOT/target"
    local missing=() tool
    for tool in mvn:maven g++:g++ cmake:cmake make:make git:git; do
        command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
    done
    if ! find_jdk; then missing+=("$(jdk_package)"); fi
    if [ ${#missing[@]} -gt 0 ]; then install_packages "${missing[@]}"; fi
    find_jdk || die "No JDK 17 or 21 was found: install openjdk-17-jdk-headless, or set JAVA_HOME to one."
    export PATH="$JAVA_HOME/bin:$PATH"
}

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

# python_environment NAME REQUIREMENTS...: target/NAME with the packages of these files from PyPI, made again when they have changed.
python_environment() {
    local environment="$ROOT/target/$1" log="$ROOT/target/$1.log" python stamp
    shift
    stamp="$(cat "$@" | sha256sum)"
    if [ "$(cat "$environment/stamp" 2>/dev/null)" = "$stamp" ]; then return 0; fi
    find_python >/dev/null || install_packages python3 python3-venv
    python="$(find_python)" || die "Python 3.10 or later with its venv module is missing: install python3-venv."
    say "Installing what $(basename -a "$@" | paste -sd' ' -) names from PyPI (log: target/$(basename "$log"))"
    rm -rf "$environment"
    "$python" -m venv "$environment"
    "$environment/bin/pip" install --disable-pip-version-check "${@/#/--requirement=}" >"$log" 2>&1 ||
        die "pip install of $* failed: see $log"
    echo "$stamp" >"$environment/stamp"
}

# NVIDIA's compiler, where the suite and bin/bench kernels look for it.
cuda_tools() { python_environment cuda-tools "$ROOT/tests/cuda-tools.txt"; }

# Runs Maven quietly; its output goes to target/NAME.log and is shown when it fails.
maven() {
    local log="$ROOT/target/$1.log"
    shift
    (cd "$ROOT" && mvn -B -ntp "$@") >"$log" 2>&1 || {
        grep -E '^\[ERROR\]|error:' "$log" | awk '!seen[$0]++' | head -15 >&2 || tail -40 "$log" >&2
        die "The build failed: see $log"
    }
}

# Copying jars never removes any: another version in a pom would leave two of one, so the Spark homes are made anew.
drop_old_spark_homes() {
    local stamp="$ROOT/target/built"
    if [ "$ROOT/pom.xml" -nt "$stamp" ] || [ "$ROOT/tests/spark-home/pom.xml" -nt "$stamp" ]; then
        rm -rf "$ROOT/tests/spark-home/target"
    fi
}

# Builds jars, test classes and the Spark home once; again when a source is newer.
build() {
    setup_tools
    local stamp="$ROOT/target/built"
    if [ -f "$stamp" ] && [ -z "$(find "$ROOT/pom.xml" "$ROOT"/{native,gpu-runtime,spark-plugin,tests} \
        -name target -prune -o -type f -newer "$stamp" -print -quit)" ]; then
        return 0
    fi
    drop_old_spark_homes
    say "Building (log: target/build.log)"
    local start=$SECONDS now
    now="$(mktemp "$ROOT/target/stamp.XXXXXX")" # edits made during the build count as newer
    maven build package -DskipTests
    mv "$now" "$stamp"
    say "Built in $((SECONDS - start)) s"
}

# property NAME: its values in the root pom, the default first and then the profiles'.
property() { sed -n "s:.*<$1>\(.*\)</$1>.*:\1:p" "$ROOT/pom.xml"; }

spark_version() { property spark.version | head -1; }
older_spark_version() { property spark.version | tail -1; }

# spark_home [VERSION]: path of the Spark home that the build assembled from Maven's jars.
spark_home() { echo "$ROOT/tests/spark-home/target/spark-${1:-$(spark_version)}"; }

# The jar with everything that Spark does not bring.
fat_jar() { ls "$ROOT"/spark-plugin/target/brazier-spark-plugin-*-all.jar; }

# use_spark HOME: the variables that a Spark home without start scripts needs.
use_spark() {
    export SPARK_HOME="$1" SPARK_SCALA_VERSION=2.13 SPARK_CONF_DIR="$1/conf"
}

# spark_class CLASS [ARGUMENT...]: runs a class of Spark, replacing this shell.
spark_class() { exec "$JAVA_HOME/bin/java" -cp "$SPARK_HOME/conf:$SPARK_HOME/jars/*" "$@"; }
