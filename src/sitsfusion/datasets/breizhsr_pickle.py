"""The tables of BreizhSR, pandas pickles, read without letting them run code.

Only the classes that a table of numbers, texts, dates, lists and dictionaries is made of are allowed; anything else
that a file names is refused.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

from sitsfusion.errors import CheckpointError, ReadError

# Modules, and the names that may be taken from them; written by pandas 1 to 3 with NumPy 1 and 2.
_ALLOWED = re.compile(
    r"pandas\.core\.frame\.DataFrame|pandas\.DataFrame|pandas\.core\.series\.Series"
    r"|pandas\.core\.internals\.managers\.(BlockManager|SingleBlockManager)"
    r"|pandas\._libs\.internals\._unpickle_block|pandas\.core\.internals\.blocks\.new_block"
    r"|pandas\.core\.indexes\.base\.(Index|_new_Index)|pandas\.(Index|RangeIndex)"
    r"|pandas\.core\.indexes\.(range\.RangeIndex|numeric\.Int64Index|datetimes\.(DatetimeIndex|_new_DatetimeIndex))"
    r"|pandas\._libs\.tslibs\.timestamps\.(_unpickle_timestamp|Timestamp)"
    r"|pandas\._libs\.tslibs\.(timedeltas\._timedelta_unpickle|nattype\._nat_unpickle)"
    r"|pandas\._libs\.arrays\.__pyx_unpickle_NDArrayBacked"
    r"|pandas\.core\.arrays\.(datetimes\.DatetimeArray|string_\.StringArray|string_\.StringDtype"
    r"|string_arrow\.ArrowStringArray)|pandas\.(StringDtype|Timestamp)"
    r"|pandas\.arrays\.(StringArray|ArrowStringArray|DatetimeArray)"
    r"|pandas\.core\.dtypes\.dtypes\.(DatetimeTZDtype|PandasDtype|NumpyEADtype)"
    r"|numpy\.(core|_core)\.(multiarray\.(_reconstruct|scalar)|numeric\._frombuffer)|numpy\.(ndarray|dtype)"
    r"|datetime\.(date|datetime|timedelta|timezone)|builtins\.(slice|list|dict|set|tuple)"
    r"|collections\.OrderedDict|copyreg\._reconstructor|builtins\.object"
)
_RENAMED = {"numpy.core": "numpy._core"}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if not _ALLOWED.fullmatch(f"{module}.{name}"):
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        for old, new in _RENAMED.items():
            module = new + module.removeprefix(old) if module.startswith(old) else module
        return super().find_class(module, name)


def read_table(path: Path) -> list[dict[str, Any]]:
    """The rows of a pickled table as dictionaries: column names to values, and `index`.

    Raises:
        ReadError: absent, damaged, or not a table.
        CheckpointError: a file that names anything but parts of a table; reading it could run code.
    """
    try:
        with path.open("rb") as file:
            table = _Reader(file).load()
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is no plain table of numbers, texts and dates, or is damaged ({error}); it is not "
            "read, because that could run code. Where you trust its origin, open it with pandas in an environment that "
            "you can throw away and save it anew (pandas.read_pickle, then DataFrame.to_pickle)"
        ) from error
    except (OSError, EOFError, AttributeError, TypeError, ValueError) as error:
        raise ReadError(f"{path} cannot be read as a table ({error}); copy or download it again") from error
    if not hasattr(table, "iterrows"):
        raise ReadError(f"{path} holds a {type(table).__name__}, expected a pandas table with one row per site")
    return [{"index": index, **row.to_dict()} for index, row in table.iterrows()]
