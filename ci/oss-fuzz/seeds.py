"""Packs a seed file (one input a line, in base64) as the zip of files that OSS-Fuzz expects beside a fuzzer.

Standard library only, for any Python 3.
"""

import base64
import hashlib
import sys
import zipfile
from pathlib import Path


def main() -> int:
    """Pack the first argument into the second; files are named by their contents and carry no times."""
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for line in source.read_text().splitlines():
            word = line.partition("#")[0].strip()
            if word:
                data = base64.b64decode(word, validate=True)
                name = hashlib.sha1(data, usedforsecurity=False).hexdigest()
                archive.writestr(zipfile.ZipInfo(name), data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
