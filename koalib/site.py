"""The executed notebooks as a site that opens from the disk: no server, no network, formulas as MathML."""

from __future__ import annotations

import os
import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
from jinja2 import Environment, FileSystemLoader, pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

from koalib.machine import commit, processor, versions
from koalib.paths import ROOT, atomic_write

if TYPE_CHECKING:
    from koalib.notebooks import Outcome

TEMPLATES = Path(str(files("koalib"))) / "templates"


class MathRenderer(IPythonRenderer):
    """Writes formulas as MathML, which browsers show without a script; one that cannot be read stays as typed."""

    def block_math(self, body: str) -> str:
        return _mathml(body, "block") or super().block_math(body)

    def inline_math(self, body: str) -> str:
        return _mathml(body, "inline") or super().inline_math(body)


def _mathml(latex: str, display: str) -> str:
    try:
        return convert(latex.strip(), display=display)
    except Exception:  # whatever the converter stumbles over, the source is still readable
        return ""


class PageExporter(HTMLExporter):
    """nbconvert's page with our navigation, folded solutions and formulas that need no network."""

    def __init__(self, docs: str = "../docs", **options: object) -> None:
        """``docs``: the way from the pages to the folder that notebooks call ``../docs``."""
        self.docs = docs
        super().__init__(extra_template_basedirs=[str(TEMPLATES)], template_name="page", embed_images=True, **options)

    @pass_context
    def markdown2html(self, context: object, source: str) -> str:
        renderer = MathRenderer(
            escape=False, attachments=context.get("cell", {}).get("attachments", {}), anchor_link_text="", exclude_anchor_links=True,
        )
        source = re.sub(r"(\]\([\w./-]*\d\d_\w+)\.ipynb", r"\1.html", source)
        return MarkdownWithMath(renderer=renderer).render(re.sub(r"\]\(\.\./docs/(?=[\w/-]+\.md)", f"]({self.docs}/", source))


def title(notebook: NotebookNode) -> str:
    """The first heading."""
    for cell in notebook.cells:
        for line in cell.source.splitlines():
            if cell.cell_type == "markdown" and line.startswith("# "):
                return line[2:].strip()
    return ""


def aim(notebook: NotebookNode) -> str:
    """The sentence after *Aim* in the opening, without markup."""
    opening = "\n".join(cell.source for cell in notebook.cells[:3] if cell.cell_type == "markdown")
    found = re.search(r"\bAim\b[\s:.*_#]*(.+?)(?:\n\s*\n|\n#|\n\*\*|\Z)", opening, re.DOTALL)
    return re.sub(r"[*_`$]", "", found[1]).strip() if found else ""


def picture(notebook: NotebookNode) -> str:
    """The first figure as base64 PNG, or nothing."""
    figures = [o.data["image/png"] for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    return figures[0].replace("\n", "") if figures else ""


def build_site(outcomes: list[Outcome], folder: Path) -> Path:
    """Write a page for each executed notebook and ``index.html``; returns the index."""
    exporter, cards = PageExporter(docs=Path(os.path.relpath(ROOT / "docs", folder)).as_posix()), []
    pages = [outcome.name for outcome in outcomes if outcome.path.exists()]
    for outcome in outcomes:
        card = {"outcome": outcome, "title": outcome.name}
        if outcome.name in pages:
            notebook, place = nbformat.read(outcome.path, as_version=4), pages.index(outcome.name)
            card |= {"page": f"{outcome.name}.html", "title": title(notebook) or outcome.name, "aim": aim(notebook), "picture": picture(notebook)}
            neighbours = {"previous": pages[place - 1] if place else "", "next": "".join(pages[place + 1 : place + 2])}
            html, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": card["title"]}, "neighbours": neighbours})
            atomic_write(folder / card["page"], html)
        cards.append(card)
    environment = Environment(loader=FileSystemLoader(TEMPLATES / "site"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    index = environment.get_template("index.html.j2").render(cards=cards, processor=processor(), versions=versions(), commit=commit())
    return atomic_write(folder / "index.html", index)
