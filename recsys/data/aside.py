"""What an encoder could not read: said in a few lines, and listed whole beside the dataset.

Enters: things with the reason why each was set aside. Leaves: notes, and
``DATASET/rejects/<name>.jsonl``, lines as an import writes them; the file goes when all is well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from recsys.progress import note
from recsys.storage import Folder

__all__ = ["tell_aside"]

_SHOWN = 5


def tell_aside(folder: Folder, name: str, what: str, reasons: Mapping[str, str]) -> None:
    """Say how many were set aside and why, and keep the list.

    Parameters
    ----------
    folder
        The dataset's.
    name
        Of the list, such as ``recordings``.
    what
        Begins the first line, such as ``audio: 3 recordings cannot be read``.
    reasons
        Why, by what was set aside; a reason begins with its name.
    """
    file = f"rejects/{name}.jsonl"
    rows = ({"row": row, "reason": reason, "raw": row} for row, reason in reasons.items())
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    where = f"listed in {folder.path}/{file}"
    try:
        if lines:
            folder.write(file, "".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
        elif folder.exists(file):
            folder.delete(file)
    except OSError as error:
        where = f"not listed: {folder.path}/{file}: {error}"
    if not lines:
        return
    note(f"{what} and left out; {where}")
    for reason in list(reasons.values())[:_SHOWN]:
        note(f"  {reason}")
    if len(lines) > _SHOWN:
        note(f"  and {len(lines) - _SHOWN:,} more")
