#!/bin/sh
# Builds every harness as OSS-Fuzz asks for it: $CC, $CXX, $CFLAGS, $LIB_FUZZING_ENGINE in; binaries, seeds, dictionaries,
# options in $OUT. Runs in the checkout ($SRC/zmm). The lists of C files are those of fuzz/harness/build.py; a test
# compares them.
set -eu
root=${ZMM_ROOT:-$SRC/zmm}
native=$root/fuzz/native
harness=$native/harness
work=${WORK:-/tmp}/zmm-objects
runner_parts="tape labels pattern perform storage crc digest target_zmm"
harness_parts="pages_kept linked shadow play features spare entry"
# The mutator speaks libFuzzer's protocol, and libFuzzer's alone.
engine_parts=
define=
case ${FUZZING_ENGINE:-libfuzzer} in
libfuzzer)
    engine_parts="mutate mutator"
    define=-DZMM_ENGINE_LIBFUZZER=1
    ;;
afl)
    define=-DZMM_ENGINE_AFL=1
    # Its compiler reads the list of what not to count from here, and instruments nothing while the other is set.
    export AFL_LLVM_DENYLIST="$harness/uncounted.txt" AFL_NOOPT=1
    ;;
esac

rm -rf "$work"
mkdir -p "$work" "$OUT"
compile() { # OBJECT SOURCE FLAGS...
    object=$1 source=$2
    shift 2
    # CFLAGS are many words on purpose.
    # shellcheck disable=SC2086
    $CC $CFLAGS -std=gnu11 -fno-omit-frame-pointer -DZMM_LEVEL=1 $define "$@" -c "$source" -o "$object"
}

objects=
for part in $runner_parts; do
    compile "$work/runner-$part.o" "$native/$part.c"
    objects="$objects $work/runner-$part.o"
done
for part in $harness_parts $engine_parts; do
    compile "$work/$part.o" "$harness/$part.c"
    objects="$objects $work/$part.o"
done
unset AFL_NOOPT
compile "$work/core.o" "$harness/core.c" "-DZMM_CORE_UNITY=\"$root/zmm/core/unity.c\"" "-I$root/zmm/include" \
    "-fsanitize-coverage-ignorelist=$harness/uncounted.txt"
objects="$objects $work/core.o"

for source in "$harness"/targets/*.c; do
    target=$(basename "$source" .c)
    name=zmm-fuzz-$target
    compile "$work/target-$target.o" "$source"
    # shellcheck disable=SC2086
    $CXX ${CXXFLAGS:-$CFLAGS} $objects "$work/target-$target.o" $LIB_FUZZING_ENGINE -o "$OUT/$name"
    cp "$root/ci/oss-fuzz/zmm.options" "$OUT/$name.options"
    cp "$root/ci/oss-fuzz/tape.dict" "$OUT/$name.dict"
    seeds=$root/fuzz/campaign/seeds/$target.txt
    [ -f "$seeds" ] || seeds=$root/fuzz/campaign/seeds/heap.txt
    python3 "$root/ci/oss-fuzz/seeds.py" "$seeds" "$OUT/${name}_seed_corpus.zip"
done
