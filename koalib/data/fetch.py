"""Download a public set; a connection that drops is taken up again where it broke off."""

from __future__ import annotations

import os
import time
from pathlib import Path
from urllib.parse import urlsplit

import pooch
import requests
from filelock import FileLock
from tqdm import tqdm

from koalib.data.registry import DatasetMissing, info, steps
from koalib.data.verify import verify
from koalib.errors import UserError

ATTEMPTS = 6
TIMEOUT_S = 30
CHUNK = 2**18


def fetch(name: str, data: str | Path | None = None, mirror: str | None = None, known_hash: str | None = None) -> dict:
    """Download ``NAME.zip`` into the data folder and verify every film in it; a copy that is whole already is kept.

    Args:
        name: a public set.
        data: folder to put it in, made when missing; ``KOALIB_DATA`` when not given.
        mirror: another address of the zip, or of a folder that holds ``NAME.zip``.
        known_hash: SHA-256 of the zip, where a mirror publishes one (the pixels are always compared).

    Returns:
        What ``verify`` says of the copy.

    Raises:
        DatasetMissing: the address is dead or gives something else; the text has the steps by hand.
    """
    facts, folder = info(name), _folder(data)
    url = _address(mirror, name) if mirror else facts.url
    archive, arriving = folder / f"{name}.zip", folder / f".{name}.zip.new"
    with FileLock(folder / f".{name}.lock"):
        if (kept := _whole(name, archive)) is not None:
            return kept
        arriving.unlink(missing_ok=True)
        try:
            pooch.get_logger().setLevel("WARNING")  # else it tells the reader how to call pooch
            pooch.retrieve(url, known_hash, fname=arriving.name, path=folder, downloader=resuming_download)
        except (requests.RequestException, OSError, ValueError) as error:
            reason = str(error).splitlines()[0][:200]
            raise DatasetMissing(steps(name, f"{url}: could not be downloaded ({reason})")) from error
        try:
            found = verify(name, arriving)
        except UserError as error:
            arriving.unlink()
            raise DatasetMissing(steps(name, f"{url}: what came is not the data set")) from error
        os.replace(arriving, archive)
        return found


def _whole(name: str, archive: Path) -> dict | None:
    """What ``verify`` says of a copy with which nothing is wrong, None for any other and for none at all."""
    try:
        found = verify(name, archive) if archive.is_file() else None
    except UserError:
        return None
    return found if found and found["ok"] else None


def resuming_download(url: str, output_file: str, _: object) -> None:
    """A pooch downloader that keeps what it has in a ``.part`` file and asks for the rest (HTTP range requests).

    Raises:
        requests.RequestException: no attempt brought the file to its end; the part is kept for the next call.
    """
    part = Path(output_file).parent / f".{urlsplit(url).path.rsplit('/', 1)[-1]}.part"
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _download_rest(url, part)
            break
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
            if attempt == ATTEMPTS:
                raise
            time.sleep(0.1 * 2**attempt)
    os.replace(part, output_file)


def _download_rest(url: str, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {"Accept-Encoding": "identity"}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
        if answer.status_code == 416:  # nothing is left to send: the part is the whole, or belongs to another file
            total = answer.headers.get("Content-Range", "").rpartition("/")[2]
            if total == str(have):
                return
            part.unlink()
            raise requests.ConnectionError("the file on the server has changed, starting anew")
        answer.raise_for_status()
        have = have if answer.status_code == 206 else 0
        total = have + int(answer.headers.get("Content-Length", 0))
        with open(part, "ab" if have else "wb") as file, tqdm(total=total or None, initial=have, unit="B", unit_scale=True, desc=part.name, disable=None) as bar:
            for chunk in answer.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total > have and part.stat().st_size < total:
        raise requests.ConnectionError(f"the connection dropped at {part.stat().st_size} of {total} bytes")


def _address(mirror: str, name: str) -> str:
    if urlsplit(mirror).scheme not in ("http", "https"):
        raise UserError(f"{mirror}: a mirror is an address that starts with http:// or https://")
    return mirror if mirror.endswith(".zip") else f"{mirror.rstrip('/')}/{name}.zip"


def _folder(data: str | Path | None) -> Path:
    named = data or os.environ.get("KOALIB_DATA")
    if not named:
        raise UserError("no folder was named to put the data set in; name one by --data or KOALIB_DATA")
    folder = Path(named).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror}); name a folder you may write to") from error
    return folder
