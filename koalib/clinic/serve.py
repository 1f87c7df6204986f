"""The reading room as a page of its own: voila on loopback, sources not shown, no file of the machine served."""

from __future__ import annotations

import os
from pathlib import Path

from traitlets.config import Config

NOTEBOOK = Path(__file__).parent / "page" / "reading_room.ipynb"


def configuration(port: int, ip: str, browser: bool) -> Config:
    """Voila's settings, each for a reason."""
    config = Config()
    config.Voila.port, config.Voila.ip, config.Voila.open_browser = port, ip, browser
    config.VoilaConfiguration.strip_sources = True
    config.VoilaConfiguration.file_allowlist = []  # nothing beside the page is handed out
    config.VoilaConfiguration.show_tracebacks = False
    config.VoilaConfiguration.theme = "light"
    config.VoilaConfiguration.allow_template_override = config.VoilaConfiguration.allow_theme_override = "NO"
    # A closed page's kernel goes with its memory; an open one that sleeps for an hour, too.
    config.MultiKernelManager.cull_idle_timeout = config.MappingKernelManager.cull_idle_timeout = 3600
    config.MappingKernelManager.cull_interval = 60
    # A report is larger than the default limit on what a kernel may say in a second.
    config.ZMQChannelsWebsocketConnection.iopub_data_rate_limit = 1e9
    return config


def serve(port: int = 8866, ip: str = "127.0.0.1", browser: bool = True) -> None:
    """Serve until interrupted.

    Args:
        ip: the address to listen on. Whoever can reach it can use the page: give another than loopback only
            behind something that asks who is there, such as JupyterHub.
    """
    from voila.app import Voila

    os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")
    Voila.launch_instance(argv=[str(NOTEBOOK)], config=configuration(port, ip, browser))
