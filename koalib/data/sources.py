"""A folder and a zip, read alike."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

from koalib.errors import UserError


class Source:
    """Files by their path relative to a root, with ``/`` between the parts. Reading is safe from several threads."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def paths(self) -> list[str]:
        """Every file, sorted; hidden files and what systems leave in archives are skipped."""
        return sorted(path for path in self._all() if not _is_hidden(path))

    def read(self, path: str) -> bytes:
        """Content of one file."""
        raise NotImplementedError

    def stamp(self, paths: list[str]) -> str:
        """A text that changes when one of these files changes, cheap to get: places, sizes and times."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the file."""

    def _all(self) -> list[str]:
        raise NotImplementedError

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FolderSource(Source):
    """The files below a folder."""

    def _all(self) -> list[str]:
        return [path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file()]

    def read(self, path: str) -> bytes:
        try:
            return (self.root / path).read_bytes()
        except OSError as error:
            raise UserError(f"{self.root / path}: cannot be read ({error.strerror})") from error

    def stamp(self, paths: list[str]) -> str:
        try:
            found = [(self.root / path).stat() for path in paths]
        except OSError as error:
            raise UserError(f"{error.filename}: no such film; paths are relative to the CSV's folder") from error
        return f"{self.root.resolve()} {[(status.st_size, status.st_mtime_ns) for status in found]}"


class ZipSource(Source):
    """The files inside a zip, read without unpacking it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        try:
            self._zip = zipfile.ZipFile(root)
        except (OSError, zipfile.BadZipFile) as error:
            raise UserError(f"{root}: not a readable zip ({error}); fetch or copy it again") from error

    def _all(self) -> list[str]:
        return [entry.filename for entry in self._zip.infolist() if not entry.is_dir()]

    def read(self, path: str) -> bytes:
        try:
            return self._zip.read(path)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(f"{self.root}: {path} inside it cannot be read ({error}); fetch or copy the zip again") from error

    def stamp(self, paths: list[str]) -> str:
        status = self.root.stat()
        return f"{self.root.resolve()} {status.st_size} {status.st_mtime_ns}"

    def close(self) -> None:
        self._zip.close()


def open_source(root: str | Path) -> Source:
    """Open a folder or a zip.

    Raises:
        UserError: neither of the two.
    """
    root = Path(root).expanduser()
    if root.is_dir():
        return FolderSource(root)
    if not root.exists():
        raise UserError(f"{root}: no such file or folder")
    if not zipfile.is_zipfile(root):
        raise UserError(f"{root}: neither a folder nor a zip; name a folder by grade, a CSV or a zip")
    return ZipSource(root)


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") or part in ("__MACOSX", "Thumbs.db", "desktop.ini") for part in PurePosixPath(path).parts)
