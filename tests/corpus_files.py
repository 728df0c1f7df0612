"""Makes the files of `corpus/` from what `corpus_known` says, with LibreOffice and Chromium.

`python tests/corpus_files.py`, once: the files are kept, as not every machine has these programs.
"""

import json
import subprocess
import tempfile
from html import escape
from pathlib import Path
from xml.sax.saxutils import escape as xml

from corpus_known import MANUAL, PAGE, STOCK, TITLE
from PIL import Image

HERE = Path(__file__).parent / "corpus"
OPEN = "velmar"  # the password of manual-locked.pdf

NAMES = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{urn}:1.0"'
    for name, urn in (
        ("office", "office"), ("style", "style"), ("text", "text"), ("table", "table"),
        ("fo", "xsl-fo-compatible"),
    )
)  # fmt: skip
STYLES = """
<office:styles>
 <style:style style:name="Standard" style:family="paragraph">
  <style:paragraph-properties fo:margin-bottom="0.25cm"/>
  <style:text-properties style:font-name="DejaVu Sans" fo:font-size="10pt"
    style:font-name-asian="Noto Sans CJK SC" style:font-size-asian="10pt"/></style:style>
 <style:style style:name="Title" style:family="paragraph" style:parent-style-name="Standard">
  <style:text-properties fo:font-size="20pt" fo:font-weight="bold"/></style:style>
 <style:style style:name="Heading_20_1" style:display-name="Heading 1" style:family="paragraph"
   style:parent-style-name="Standard">
  <style:text-properties fo:font-size="16pt" fo:font-weight="bold"
    style:font-size-asian="16pt"/></style:style>
 <style:style style:name="Heading_20_2" style:display-name="Heading 2" style:family="paragraph"
   style:parent-style-name="Standard">
  <style:text-properties fo:font-size="13pt" fo:font-weight="bold"/></style:style>
</office:styles>
<office:automatic-styles>
 <style:style style:name="cell" style:family="table-cell">
  <style:table-cell-properties fo:border="0.5pt solid #000000" fo:padding="0.1cm"/></style:style>
 <style:page-layout style:name="page"><style:page-layout-properties fo:page-width="21cm"
   fo:page-height="29.7cm" fo:margin="2cm"/>
  <style:header-style/><style:footer-style/></style:page-layout>
</office:automatic-styles>
<office:master-styles><style:master-page style:name="Standard" style:page-layout-name="page">
 <style:header><text:p>Velmar GmbH – confidential</text:p></style:header>
 <style:footer><text:p>Page <text:page-number/> of <text:page-count/></text:p></style:footer>
</style:master-page></office:master-styles>"""


def flat_odt(copies: int) -> str:
    body = [f'<text:p text:style-name="Title">{xml(TITLE)}</text:p>']
    body += [part(kind, said) for _ in range(copies) for kind, said in MANUAL]
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document {NAMES} office:version="1.2" '
        f'office:mimetype="application/vnd.oasis.opendocument.text">{STYLES}<office:body>'
        f"<office:text>{''.join(body)}</office:text></office:body></office:document>"
    )


def part(kind: str, said: object) -> str:
    if isinstance(said, str):
        if kind == "p":
            return f'<text:p text:style-name="Standard">{xml(said)}</text:p>'
        return (
            f'<text:h text:style-name="Heading_20_{kind}" text:outline-level="{kind}">'
            f"{xml(said)}</text:h>"
        )
    if kind == "list":
        items = "".join(f"<text:list-item><text:p>{xml(i)}</text:p></text:list-item>" for i in said)
        return f"<text:list>{items}</text:list>"
    rows = "".join(f"<table:table-row>{''.join(map(cell, row))}</table:table-row>" for row in said)
    columns = f'<table:table-column table:number-columns-repeated="{len(said[0])}"/>'
    return f'<table:table table:name="t">{columns}{rows}</table:table><text:p/>'


def cell(said: str) -> str:
    return (
        '<table:table-cell table:style-name="cell" office:value-type="string">'
        f"<text:p>{xml(said)}</text:p></table:table-cell>"
    )


def convert(source: Path, form: str, name: str, *more: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = ["soffice", "--headless", *more, "--convert-to", form, "--outdir", folder, source]
        subprocess.run(command, check=True, capture_output=True)
        (found,) = Path(folder).iterdir()
        (HERE / name).write_bytes(found.read_bytes())


def as_html() -> str:
    said = [f"<h1>{escape(TITLE)}</h1>"]
    for kind, what in MANUAL:
        if kind == "table":
            rows = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in what)
            said.append(f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>")
        elif kind == "list":
            said.append(f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in what)}</ul>")
        else:
            tag = "p" if kind == "p" else f"h{int(kind) + 1}"
            said.append(f"<{tag}>{escape(what)}</{tag}>")
    return PAGE.format(content="\n".join(said))


def save_site(source: Path) -> None:
    """The page as Chromium saves it in one file."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium")
        page = browser.new_page()
        page.goto(source.as_uri())
        session = page.context.new_cdp_session(page)
        saved = session.send("Page.captureSnapshot", {"format": "mhtml"})["data"]
        browser.close()
    (HERE / "manual.mhtml").write_text(saved, encoding="utf-8", newline="")


def scan(pages: Path) -> None:
    """The first page as a scanner makes it, a picture, and after it the second page."""
    command = ["pdftoppm", "-r", "50", "-f", "1", "-l", "1", "-gray", "-jpeg", pages]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*command, f"{folder}/page"], check=True)
        (picture,) = Path(folder).iterdir()
        Image.open(picture).save(HERE / "scan.pdf")
        subprocess.run(["pdfunite", pages, HERE / "scan.pdf", HERE / "half-scan.pdf"], check=True)


def main() -> None:
    lock = {
        "EncryptFile": {"type": "boolean", "value": "true"},
        "DocumentOpenPassword": {"type": "string", "value": OPEN},
    }
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "manual.fodt"
        source.write_text(flat_odt(1), encoding="utf-8")
        convert(source, "pdf", "manual.pdf")
        convert(source, f"pdf:writer_pdf_Export:{json.dumps(lock)}", "locked.pdf")
        convert(source, "docx", "manual.docx")
        table = Path(folder) / "stock.csv"
        table.write_text(
            "\n".join(",".join(f'"{cell}"' for cell in row) for row in STOCK), encoding="utf-8"
        )
        # Comma, quote, UTF-8, first line, no column as text: numbers and dates become such.
        filter = ["--infilter=CSV:44,34,76,1,,0,false,true,false"]
        convert(table, "xlsx", "stock.xlsx", *filter)
        convert(table, "xls", "stock.xls", *filter)
        page = Path(folder) / "manual.html"
        page.write_text(as_html(), encoding="utf-8")
        save_site(page)
    scan(HERE / "manual.pdf")


if __name__ == "__main__":
    main()
