"""Office files are ZIP archives: what one must not be before a library unpacks it."""

import zipfile
from pathlib import Path

from retrain.corpus.stage import CorpusError

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # Microsoft's compound file: .doc, .xls, and encrypted
MB = 1_000_000
UNPACKED = 1000 * MB
RATIO = 100  # packed text has 3 to 15, a bomb 1,000
SMALL = 20 * MB  # that may unpack as it likes
AT_ONCE = 1_000_000


def check_packed(path: Path, program: str) -> None:
    """Raises CorpusError for what is no sound archive, is encrypted, or is a bomb.

    All of it is unpacked once, into nothing: what an archive says of its sizes may be a lie, which
    shows as a wrong checksum at the size that it said.
    """
    with path.open("rb") as file:
        if file.read(len(OLE)) == OLE:
            raise CorpusError(
                f"it is encrypted, or in {program}'s form of before 2007. Save it anew with "
                f"{program} or LibreOffice, without a password."
            )
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive, path.stat().st_size)
            for name in archive.namelist():
                with archive.open(name) as member:
                    while member.read(AT_ONCE):
                        pass
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise CorpusError(
            f"it is damaged ({error}). Open it in {program} or LibreOffice and save it anew."
        ) from error


def _check_sizes(archive: zipfile.ZipFile, packed: int) -> None:
    size = sum(member.file_size for member in archive.infolist())
    if size > UNPACKED or size > max(SMALL, RATIO * packed):
        raise CorpusError(
            f"its {packed:,} bytes unpack to {size:,}: a ZIP bomb, or not a document. It was not "
            "opened. If it is sound, export it as text or CSV and give that."
        )
