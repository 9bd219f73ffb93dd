"""What the search shows of a table: a paragraph for each row, with its cells apart. Without
this they run together, as the search knows no tables. Heads of tables would be found for
words such as "code", and say nothing."""

import re

from mkdocs.plugins import CombinedEvent, event_priority

HEAD = re.compile(r"(?s)<thead>.*?</thead>")
ROW = re.compile(r"(?s)<tr>(.*?)</tr>")
CELL = re.compile(r"(?s)<t[dh][^>]*>(.*?)</t[dh]>")


def row(match):
    cells = [cell.strip() for cell in CELL.findall(match.group(1))]
    return f"<p>{' | '.join(cell for cell in cells if cell)}</p>"


@event_priority(100)
def before(context, page, config, nav):
    page.shown, page.content = page.content, ROW.sub(row, HEAD.sub("", page.content))


@event_priority(-100)
def after(context, page, config, nav):
    page.content = page.shown


on_page_context = CombinedEvent(before, after)
