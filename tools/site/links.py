"""Links of the pages that leave docs/, such as to ../configs/keycloak.yaml, lead to the
repository on the site; in the repository they are files."""

import posixpath
import re

from mkdocs.structure.files import File

LINK = re.compile(r"\]\((?![a-z]+:|#|/)([^)#\s]+)(#[^)\s]*)?\)")
FENCE = re.compile(r"(?ms)^```.*?^```")


def on_page_markdown(markdown, page, config, files):
    folder = posixpath.dirname(page.file.src_uri)

    def replace(match):
        path = posixpath.normpath(posixpath.join(folder, match.group(1)))
        if path.startswith("../"):
            return f"]({config.repo_url}/blob/main/{path[3:]}{match.group(2) or ''})"
        if path == "decisions":
            return f"]({match.group(1).rstrip('/')}/index.md)"
        return match.group(0)

    out, at = [], 0
    for fence in FENCE.finditer(markdown):
        out += [LINK.sub(replace, markdown[at : fence.start()]), fence.group(0)]
        at = fence.end()
    return "".join(out) + LINK.sub(replace, markdown[at:])


def on_files(files, config):
    """The list of decisions is made from their titles, so that nobody has to keep it."""
    lines = []
    for file in files.documentation_pages():
        if file.src_uri.startswith("decisions/"):
            with open(file.abs_src_path, encoding="utf-8") as page:
                title = page.readline().lstrip("# ").strip()
            name = posixpath.basename(file.src_uri)
            lines.append(f"| {name[:10]} | [{title}]({name}) |")
    lines.sort(reverse=True)
    text = (
        "# Decisions\n\nChoices that would surprise without their reasons: what was chosen, what was rejected, and"
        " what it costs. A later choice gets a page of its own that names the old one.\n\n| day | choice |\n|---|---|\n"
    )
    files.append(File.generated(config, "decisions/index.md", content=text + "\n".join(lines) + "\n"))
    return files
