"""The reading room as a page of its own: voila on loopback, sources not shown, no file of the machine served."""

from __future__ import annotations

import os
from pathlib import Path

from traitlets.config import Config

PAGE = Path(__file__).parent / "page"
NOTEBOOK = PAGE / "reading_room.ipynb"
TEMPLATES = PAGE / "jupyter"  #: searched as one of Jupyter's data folders


def configuration(port: int, ip: str, browser: bool) -> Config:
    """Voila's settings, each for a reason."""
    config = Config()
    config.Voila.port, config.Voila.ip, config.Voila.open_browser = port, ip, browser
    config.VoilaConfiguration.strip_sources = True
    config.VoilaConfiguration.file_allowlist = []  # nothing beside the page is handed out
    config.VoilaConfiguration.show_tracebacks = False
    config.VoilaConfiguration.theme, config.VoilaConfiguration.template = "light", "reading_room"
    config.VoilaConfiguration.allow_template_override = config.VoilaConfiguration.allow_theme_override = "NO"
    # A closed page's kernel goes with its memory; one whose browser is gone without a word goes after an hour.
    config.MultiKernelManager.cull_idle_timeout = config.MappingKernelManager.cull_idle_timeout = 3600
    config.MappingKernelManager.cull_interval = 60
    # A report is larger than the default limit on what a kernel may say in a second.
    config.ZMQChannelsWebsocketConnection.iopub_data_rate_limit = 1e9
    return config


def serve(port: int = 8866, ip: str = "127.0.0.1", browser: bool = True, keep_identity: bool | None = None, reader: str | None = None) -> None:
    """Serve until interrupted.

    Args:
        ip: the address to listen on. Whoever can reach it can use the page: give another than loopback only
            behind something that asks who is there, such as JupyterHub.
        keep_identity: whether the case book may keep DICOM patient data; None leaves the book's own setting.
        reader: name of everybody who opens the page; None makes each browser a reader of its own.
    """
    if reader:
        os.environ["KOALIB_READER"] = reader
    if keep_identity is not None:
        os.environ["KOALIB_KEEP_IDENTITY"] = str(int(keep_identity))  # the page's kernels read it
    folders = [str(TEMPLATES), *filter(None, [os.environ.get("JUPYTER_PATH")])]
    os.environ["JUPYTER_PATH"] = os.pathsep.join(folders)  # read when voila is imported
    from voila.app import Voila

    Voila.launch_instance(argv=[str(NOTEBOOK)], config=configuration(port, ip, browser))
