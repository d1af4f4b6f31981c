"""What the site changes of a page: links out of `docs`, and where a line of code may break.

The model cards and the changelog, which lie elsewhere, become pages of the site. Of other files the name alone stays.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
# File of the repository -> its page on the site.
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "service/fc7_service/bundles/alexnet-64/card.md": "cards/alexnet-64.md",
    "service/fc7_service/bundles/zfnet-64/card.md": "cards/zfnet-64.md",
}
INLINE_CODE = re.compile(r"<code>([^<]+)</code>")
WORD, WHOLE = re.compile(r"[^\s-]*-[^\s]{1,24}(?=\s|$)"), r'<span class="whole">\g<0></span>'
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages whose files lie elsewhere in the repository."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turn the links of the repository into links of the site."""
    source = Path(page.file.abs_src_path).relative_to(ROOT)
    return LINK.sub(lambda match: site_link(match, source, page.file.src_uri), markdown)


def site_link(link: re.Match[str], source: Path, page: str) -> str:
    """Return the link as the site has it. A file that is no page of the site leaves its name alone."""
    text, target, anchor = link.groups()
    file = os.path.normpath(source.parent / target)
    if file in PAGES:
        goal = PAGES[file]
    elif file.startswith("docs/"):
        goal = file.removeprefix("docs/")
    else:
        return text
    return f"[{text}]({os.path.relpath(goal, Path(page).parent)}{anchor or ''})"


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Keep words with hyphens whole in inline code; browsers break `--token-file` behind its first hyphen."""
    return INLINE_CODE.sub(lambda match: f"<code>{WORD.sub(WHOLE, match[1])}</code>", html)
