"""A folder that many machines write to: files that appear whole, under any URL that fsspec knows.

folder = SharedFolder("s3://bucket/samples")       # or a plain path; the extra `cluster`
folder.write("a.json", content)
folder.read("a.json")                              # None where there is no such file
"""

from __future__ import annotations

import platform
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facenb.errors import FacenbError
from facenb.storage.files import atomic_write


class FolderError(FacenbError):
    """A shared folder that cannot be written to or read from; says which machine, and why."""


class SharedFolder:
    """The folder at a path or URL; it is made when the first file is written.

    Raises FolderError for a URL of a kind that fsspec does not know, or without fsspec.
    """

    def __init__(self, url: str) -> None:
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise FolderError(
                f"a shared folder needs fsspec ({error}): "
                "pip install -c constraints.txt -e '.[cluster]'."
            ) from error
        self.url = url
        try:
            self._files, root = url_to_fs(url)
        except (ValueError, ImportError, OSError) as error:
            raise FolderError(f"{url!r} is no folder that can be reached: {error}.") from error
        self._root = root.rstrip("/")

    def path(self, name: str) -> str:
        """Of the file called `name`, as its file system has it."""
        return f"{self._root}/{name}"

    def read(self, name: str) -> bytes | None:
        """The content of a file; None where it is missing."""
        try:
            return self._files.cat_file(self.path(name))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed("read from", error) from error

    def write(self, name: str, content: bytes) -> None:
        """Write a file under a temporary name and rename it; FolderError where that cannot be."""
        from fsspec.implementations.local import LocalFileSystem

        path = self.path(name)
        try:
            if isinstance(self._files, LocalFileSystem):
                atomic_write(path, content)
                return
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            with self._renamed(path) as temporary:
                self._files.pipe_file(temporary, content)
        except OSError as error:
            raise self._failed("written to", error) from error

    @contextmanager
    def _renamed(self, path: str) -> Iterator[str]:
        folder, _, name = path.rpartition("/")
        temporary = f"{folder}/.{secrets.token_hex(8)}.tmp-{name}"
        try:
            yield temporary
            self._files.mv(temporary, path)
        except BaseException:
            if self._files.exists(temporary):
                self._files.rm_file(temporary)
            raise

    def _failed(self, what: str, error: OSError) -> FolderError:
        return FolderError(f"{self.url} cannot be {what} by {platform.node()}: {error}.")


def absolute_url(url: str) -> str:
    """`url` as it means the same in every working folder: a path becomes absolute."""
    return url if "://" in url else str(Path(url).expanduser().absolute())
