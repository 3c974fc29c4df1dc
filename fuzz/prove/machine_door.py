"""The other side of machine.py, for the Python that has angr: finds the packages in the checkout, decides one claim."""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import sys
from pathlib import Path


def bring(name: str, folder: Path) -> None:
    """Makes a folder of the checkout a package of another name, as an installation does."""
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    spec.loader.exec_module(package)


def main() -> None:
    """Prints one line of JSON: status, remark, cases."""
    logging.disable(logging.CRITICAL)
    task = json.loads(sys.argv[1])
    root = Path(task["root"])
    sys.dont_write_bytecode = True
    bring("zmm_model", root / "model")
    bring("zmm_fuzz", root / "fuzz")
    code = importlib.import_module("zmm_fuzz.prove.machine_code")
    claims = importlib.import_module("zmm_fuzz.prove.claims_code")
    answer = {"status": "confirmed", "remark": "", "cases": 0}
    try:
        answer["cases"] = getattr(claims, task["claim"])(code.Code(task["library"], task["places"]))
        if not answer["cases"]:
            answer.update(status="inconclusive", remark="not one path was found")
    except code.Wrong as error:
        answer.update(status="refuted", remark=str(error))
    except code.Unclear as error:
        answer.update(status="inconclusive", remark=str(error))
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
