"""Several packages at a time, under one progress line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from facenb.assets import fetch, is_intact, package_folder
from facenb.assets.pins import Package
from facenb.assets.progress import bar, silence

AT_ONCE = 3  # downloads: registries limit each one, and more would only fight for the line


def fetch_all(
    packages: Sequence[Package], source: str | None, done: Callable[[Package], None]
) -> None:
    """Fetch what is missing or damaged of `packages`, the largest first; `done` hears of each.

    Raises the first error once the downloads that are running have ended; those that wait are
    given up. What has been fetched stays.
    """
    missing = [package for package in packages if not _is_whole(package)]
    for package in packages:
        if package not in missing:
            done(package)
    if len(missing) == 1:
        fetch(missing[0], source)
        done(missing[0])
    elif missing:
        _fetch_at_once(sorted(missing, key=lambda package: -package.size), source, done)


def _is_whole(package: Package) -> bool:
    folder = package_folder(package)
    return all(is_intact(folder / name, member) for name, member in package.members.items())


def _fetch_silently(package: Package, source: str | None) -> None:
    with silence():
        fetch(package, source)


def _fetch_at_once(
    packages: Sequence[Package], source: str | None, done: Callable[[Package], None]
) -> None:
    total = sum(package.size for package in packages)
    line = "{desc}: {n_fmt} of {total_fmt} ({elapsed})"
    with (
        bar(desc="fetching", total=total, unit="B", unit_scale=True, bar_format=line) as progress,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        tasks: dict[Future[None], Package] = {}
        for package in packages:
            tasks[pool.submit(_fetch_silently, package, source)] = package
        try:
            waiting = set(tasks)
            while waiting:
                running = [tasks[task].name for task in tasks if task in waiting and task.running()]
                progress.set_description_str(f"fetching {', '.join(running)}")
                ended, waiting = wait(waiting, timeout=1, return_when=FIRST_COMPLETED)
                for task in ended:
                    task.result()
                    progress.update(tasks[task].size)
                    with progress.external_write_mode():
                        done(tasks[task])
            progress.set_description_str("fetched")
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
