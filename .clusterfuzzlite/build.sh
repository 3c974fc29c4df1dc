#!/bin/sh
# ClusterFuzzLite builds what OSS-Fuzz builds.
exec "$SRC/zmm/ci/oss-fuzz/build.sh"
