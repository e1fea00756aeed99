#!/bin/sh
# Writes a stub for every function that a JNI library of the presets wants from a library and that is not implemented: without it a
# call would end the process. usage: stubs.sh prefix jni-library implemented-symbols > stubs.c
set -eu
readelf --dyn-syms -W "$2" | awk -v prefix="$1" '$7 == "UND" && $8 ~ "^" prefix { sub("@.*", "", $8); print $8 }' \
    | sort -u > "$3.wanted"
sort -u "$3" | comm -13 - "$3.wanted" | while read -r name; do
    echo "int $name(void) { return 801; }"
done
