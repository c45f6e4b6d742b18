"""Write docs/data.md from the tables' own specification: python scripts/data_page.py"""

from __future__ import annotations

from pathlib import Path

from recsys.data.tables import TABLES, TableSpec

PAGE = Path(__file__).parents[1] / "docs" / "data.md"
HEAD = """# Data contracts

A dataset is a folder or bucket of Parquet tables. These are their columns; `recsys import` brings
files in this form (CSV, JSON lines, Parquet) as well as those of other services. A column that is
not required may be absent; ids are strings of 1 to 1,024 characters, none of them a control
character. An imported row may carry `private`: it is counted and dropped, no table has the column.
"""
HOLDS = {
    "events": "What listeners did.",
    "items": "What is recommended.",
    "artists": "Who made it.",
    "documents": "What is written about artists and items.",
    "collections": "Playlists: a listener's own, or an editor's.",
    "descriptors": "What recordings sound like.",
    "lists": "What Discover Weekly gave.",
    "exposures": "What was shown, by which variant.",
    "tombstones": "Which listeners were deleted.",
}


def page() -> str:
    """Return the page."""
    return "\n".join([HEAD, *(_section(table) for table in TABLES.values())])


def _section(table: TableSpec) -> str:
    key = ", ".join(f"`{column}`" for column in table.key)
    replaces = f" A later row with the same {key} replaces the earlier one." if key else ""
    lines = [
        f"## {table.name}",
        "",
        HOLDS[table.name] + replaces,
        "",
        "| column | type | required | default |",
        "|---|---|---|---|",
    ]
    for field in table.schema:
        required = "yes" if field.name in table.required else ""
        default = table.defaults.get(field.name)
        shown = "" if default is None else f"`{default}`"
        lines.append(f"| `{field.name}` | {field.type} | {required} | {shown} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
