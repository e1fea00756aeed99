#!/bin/sh
# Writes a stub for every function that a JNI library of the presets wants from a library and that is not implemented: without it a
# call would end the process. usage: stubs.sh soname prefix jni-library implemented-symbols > stubs.c
set -eu
readelf --dyn-syms -W "$3" | awk -v prefix="$2" '$7 == "UND" && $8 ~ "^" prefix { sub("@.*", "", $8); print $8 }' \
    | sort -u > "$4.wanted"
sort -u "$4" | comm -13 - "$4.wanted" | while read -r name; do
    echo "int $name(void) { return 801; }"
done
