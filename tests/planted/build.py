"""Plants bugs to play with: ``python build.py FOLDER NAME ...`` builds libraries with a bug each, real or our own.

What a patch is stands in ``fuzz/truth/patch.py``, how it is applied in ``fuzz/truth/plant.py``: line numbers and white
space are not used, the old lines of each hunk must occur in the file exactly once. So a patch outlives a new layout of
the code, and fails loudly when the code means something else.
"""

from __future__ import annotations

import sys
from pathlib import Path

from zmm_fuzz.truth.patch import read_folder
from zmm_fuzz.truth.plant import plant

HERE = Path(__file__).resolve().parent

if __name__ == "__main__":
    bugs = {patch.name: patch for folder in (HERE, HERE.parent / "truth") for patch in read_folder(folder)}
    for wanted in sys.argv[2:]:
        if wanted not in bugs:
            sys.exit(f"there is no bug {wanted}; there are {', '.join(sorted(bugs))}")
        print(plant(bugs[wanted], Path(sys.argv[1])))
