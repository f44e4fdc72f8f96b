"""`moodreel serve`: an HTTP API and a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes any that is free.")] = 8000,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A bundle's name, or its folder (RUN/bundle).")
    ] = "default",
    library: Annotated[
        str | None,
        typer.Option("--library", "-l", metavar="LIB", help="Folder or URL of a library to search and play."),
    ] = None,
    allow_host: Annotated[list[str] | None, typer.Option(help="A further name that clients may call it by.")] = None,
    allow_without_token: Annotated[
        bool, typer.Option("--allow-without-token", help="Let the network in though MOODREEL_TOKEN is not set.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Clips read at a time, each in a process.")] = 2,
    queue: Annotated[int, typer.Option(min=0, max=1000, help="Clips that may wait.")] = 16,
    max_upload_mb: Annotated[int, typer.Option(min=1, help="Largest clip, in MiB.")] = 256,
    max_minutes: Annotated[float, typer.Option(min=0.01, help="Longest clip.")] = 30.0,
    max_megapixels: Annotated[float, typer.Option(min=0.01, help="Largest picture.")] = 16.8,
    max_job_seconds: Annotated[float, typer.Option(min=1, help="Longest time that a clip is worked on.")] = 600.0,
    max_memory_mb: Annotated[int, typer.Option(min=64, help="Memory that a clip may take, in MiB.")] = 2048,
    streams: Annotated[int, typer.Option(min=0, max=64, help="Live streams at a time.")] = 2,
    no_keep_jobs: Annotated[bool, typer.Option("--no-keep-jobs", help="Let jobs end with the server.")] = False,
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where jobs are kept; by default apart for each port.")
    ] = None,
    webhook_allow: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="Web hooks that begin so may be called.")
    ] = None,
    access_log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Log requests, without names or addresses.")
    ] = None,
) -> None:
    """Serve an HTTP API and a page to drop clips on. With MOODREEL_TOKEN set, clients must show that token."""
    from moodreel.serving.protocol.limits import MIB, Limits
    from moodreel.serving.server.app import Settings
    from moodreel.serving.server.guard import Access
    from moodreel.serving.server.run import check_exposure, choose_state, read_token, run
    from moodreel.serving.server.webhooks import read_rules

    token = read_token()
    check_exposure(host, token, is_open=allow_without_token)
    limits = Limits(
        upload_bytes=max_upload_mb * MIB,
        clip_s=max_minutes * 60,
        picture_px=round(max_megapixels * 1e6),
        workers=workers,
        waiting_jobs=queue,
        job_s=max_job_seconds,
        memory_bytes=max_memory_mb * MIB,
        streams=streams,
        kept_jobs=max(Limits.kept_jobs, workers + queue),
    )
    kept = None if no_keep_jobs else choose_state(state, host, port)
    access = Access(host, tuple(allow_host or ()), token)
    run(Settings(model, access, limits, kept, read_rules(webhook_allow or ()), access_log, library), port)
