"""``calotype.push`` and ``calotype.pull``: a trained model as a folder that others check and use, also on the Hugging Face Hub.

A shared folder holds safetensors, JSON and a card, and a manifest with the SHA-256 of each; nothing else is sent, and nothing else is
taken. Who is allowed to write is the Hub's own affair (`hf auth login`, or HF_TOKEN in the environment): no token passes through here.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import calotype
from calotype.engine import calibrating
from calotype.engine.model_card import licensed
from calotype.engine.run import CARD
from calotype.errors import CalotypeError, DamagedError, UserError, printable
from calotype.files import json_text, name_of, obstacle, read_bytes, read_json, sha256, sync_folder, unused
from calotype.models import MODELS, stored
from calotype.models.stored import Stored

T = TypeVar("T")
MANIFEST, README = "manifest.json", "README.md"
NEEDED = (stored.CONFIG, stored.WEIGHTS, README)
PARTS = (*NEEDED, calibrating.FILE, calibrating.KNOWN)
"""All that is shared: the first three always, the others of classifiers."""

HUB = "hf://"
LARGEST = 50_000_000_000  # bytes of a file that is taken
_REPOSITORY = re.compile(r"([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@([A-Za-z0-9][\w./-]{0,99}))?")
_LICENSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+ -]{0,60}")
_OF_THE_DISK = {getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EACCES", "EPERM", "EROFS")} - {None}


@dataclass(frozen=True)
class Shared:
    """A model that was shared or taken."""

    place: str  # a folder, or hf://OWNER/NAME@REVISION
    folder: Path | None  # where it is on this machine
    revision: str | None  # of the Hub: the commit, which is always the same
    files: dict[str, str]  # SHA-256 by name


def push(model: str | Path, dest: str | Path, *, license: str | None = None, public: bool = False) -> Shared:
    """Share a trained model: its weights, what they mean, and a card of how it was made and judged.

    Args:
        model: The folder of a run, or of a model by itself.
        dest: A new or empty folder, or ``hf://OWNER/NAME`` (``@BRANCH`` for another branch than main), which is made where it is missing.
        license: Under which the model is, such as ``cc-by-4.0``; what its folder says where none is given.
        public: Whether a repository that is made can be seen by everybody.

    Raises:
        UserError: for what is no model, a folder that holds something, and where nobody is logged in.
        CalotypeError: where the Hub refuses or cannot be reached.
    """
    found = stored.find(model)
    found.model()  # what is damaged is not sent
    if license is not None and not _LICENSE.fullmatch(license):
        raise UserError(f"`license={printable(license)[:80]}` is none: give its identifier, such as cc-by-4.0 or mit")
    repository = _repository(str(dest))
    contents = _contents(found, license)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items() if name != MANIFEST}
    if repository is None:
        folder = Path(dest)
        _require_free(folder)
        with _placing(folder) as staging:
            for name, data in contents.items():
                (staging / name).write_bytes(data)
        return Shared(str(folder), folder, None, digests)
    owner_name, branch = repository
    hub = _hub()

    def send() -> Any:
        api = hub.HfApi(endpoint=_endpoint())
        api.create_repo(owner_name, private=not public, exist_ok=True)
        if branch is not None:
            api.create_branch(owner_name, branch=branch, exist_ok=True)
        parts = [hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in contents.items()]
        there = {one.rfilename for one in api.model_info(owner_name, revision=branch).siblings or ()}
        parts += [hub.CommitOperationDelete(path_in_repo=name) for name in PARTS if name in there and name not in contents]
        said = f"{found.recipe} model {digests[stored.WEIGHTS][:12]}"
        return api.create_commit(owner_name, parts, commit_message=said, revision=branch)

    made = _asked(send, owner_name)
    return Shared(f"{HUB}{owner_name}@{made.oid}", None, made.oid, digests)


def pull(source: str | Path, out: str | Path | None = None) -> Shared:
    """Take a shared model into a new folder, once all its files are what its manifest says and the weights are those of the model.

    Args:
        source: A folder that `push` wrote, or ``hf://OWNER/NAME@REVISION``; of the Hub the newest commit where no revision is given.
        out: The new folder; one called like the model where none is given.

    Raises:
        UserError: for what is no shared model, a folder that holds something, and (`DamagedError`) a file that is another.
        CalotypeError: where the Hub refuses or cannot be reached.
    """
    repository = _repository(str(source))
    name = name_of(Path(source)) if repository is None else repository[0].split("/")[1]
    folder = unused(Path(name.replace("/", "-"))) if out is None else Path(out)
    _require_free(folder)
    with _placing(folder) as staging:
        revision = _brought(Path(source) if repository is None else repository, staging)
        digests = verify(staging)
        for path in staging.iterdir():
            if path.name not in (*digests, MANIFEST):  # of another model, or planted: nobody vouches for it
                path.unlink()
        stored.find(staging).model()
    place = str(source) if repository is None else f"{HUB}{repository[0]}@{revision}"
    return Shared(place, folder, revision, digests)


def verify(folder: Path) -> dict[str, str]:
    """The SHA-256 of the files of a shared folder, by name, all of them as its manifest says.

    Raises:
        DamagedError: for a file that is another or missing, and for a manifest that is none.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise UserError(f"there is no {MANIFEST}: take a model that calotype push shared")
    listed = read_json(path).get("files")
    if not isinstance(listed, dict) or not set(NEEDED) <= set(listed) or not set(listed) <= set(PARTS):
        raise DamagedError(f"{MANIFEST} does not list the files of a model: have it shared again")
    for name, digest in listed.items():
        if not (folder / name).is_file():
            raise DamagedError(f"{name} is missing: have the model shared again")
        if sha256(folder / name) != digest:
            raise DamagedError(f"{name} is not what {MANIFEST} says (SHA-256): it changed on its way, have the model shared again")
    return {str(name): str(digest) for name, digest in listed.items()}


def _contents(found: Stored, license: str | None) -> dict[str, bytes]:
    """The files to share, the manifest last."""
    facts = read_json(found.folder / stored.CONFIG)
    known = facts.get("license")
    license = license or (known if isinstance(known, str) and _LICENSE.fullmatch(known) else None)
    if license is not None:
        facts["license"] = license
    contents = {
        name: (found.folder / name).read_bytes()
        for name in PARTS
        if name not in (stored.CONFIG, README) and (found.folder / name).is_file()
    }
    contents[stored.CONFIG] = json_text(facts).encode()
    contents[README] = (front_matter(found, license) + _card(found, license)).encode()
    files = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(contents.items())}
    contents[MANIFEST] = json_text({"calotype": calotype.__version__, "recipe": found.recipe, "files": files}).encode()
    return contents


def _card(found: Stored, license: str | None) -> str:
    """The card of the folder, with the license, and with the judgement that stands in it, which is of these weights."""
    try:
        card = read_bytes(found.folder / README, CARD).decode(errors="replace")
    except (OSError, ValueError):
        card = f"# {found.recipe}\n\n- license: \n"
    if card.startswith("---\n"):  # of an earlier sharing
        card = card.partition("\n---\n")[2].lstrip("\n")
    return licensed(card, license)


def front_matter(found: Stored, license: str | None) -> str:
    """What the Hub reads of a card: license and kind."""
    model = MODELS[type(found.config)]
    task = "image-classification" if not model.draws else "image-to-image" if model.from_source else "unconditional-image-generation"
    lines = [*([f"license: {json.dumps(license)}"] if license else []), "library_name: calotype", f"pipeline_tag: {task}"]
    return "\n".join(["---", *lines, "tags:", "- calotype", f"- {found.config.kind}", "---", "", ""])


def _repository(place: str) -> tuple[str, str | None] | None:
    """(OWNER/NAME, revision) of a place on the Hub; None for a folder."""
    if not place.startswith(HUB):
        return None
    if (parts := _REPOSITORY.fullmatch(place.removeprefix(HUB))) is None or ".." in place:
        raise UserError(f"{printable(place)[:150]} is no place on the Hub: write {HUB}OWNER/NAME or {HUB}OWNER/NAME@REVISION")
    return parts[1], parts[2]


def _require_free(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: choose a new or an empty folder")
    if reason := obstacle(folder, folder=True):
        raise UserError(f"cannot create {folder}: {reason}; choose another place")
    if folder.is_symlink() or folder.is_mount() or folder.resolve() == Path.cwd():
        kind = "a link" if folder.is_symlink() else "the folder you are in" if folder.resolve() == Path.cwd() else "a mount point"
        raise UserError(f"{folder} is {kind}, which no new folder can take the place of: name a new folder in it or beside it")
    if reason := obstacle(folder.absolute().parent, folder=True):  # where it is made before it gets its name
        raise UserError(f"cannot create {folder}: {reason}; choose another place")


@contextmanager
def _placing(folder: Path) -> Iterator[Path]:
    """A hidden folder beside ``folder`` that takes its place when the block ends well; else nothing is left of it."""
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}.", suffix=".tmp", dir=folder.absolute().parent))
    try:
        yield staging
        for path in staging.iterdir():
            with open(path, "rb+") as stream:
                os.fsync(stream.fileno())
        staging.chmod(0o777 & ~_umask())
        if folder.is_dir():
            folder.rmdir()  # it is empty
        staging.rename(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    sync_folder(folder.absolute().parent)


def _umask() -> int:
    """What new files may not be, which can only be read by changing it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _brought(source: Path | tuple[str, str | None], staging: Path) -> str | None:
    """Bring the parts of a shared model; returns the commit that they are of, on the Hub."""
    if isinstance(source, tuple):
        return _download(*source, staging)
    _gather(source, staging)
    return None


def _gather(source: Path, staging: Path) -> None:
    """Copy the parts of a shared folder."""
    if not source.is_dir():
        raise UserError(f"{source} is no folder: give one that calotype push wrote, or {HUB}OWNER/NAME")
    for name in (*PARTS, MANIFEST):
        path = source / name
        if path.is_file() and not path.is_symlink():
            shutil.copyfile(path, staging / name)


def _download(repository: str, revision: str | None, staging: Path) -> str:
    """Bring the parts of a repository, all of one commit, which is returned."""
    hub = _hub()
    info = _asked(lambda: hub.HfApi(endpoint=_endpoint()).model_info(repository, revision=revision, files_metadata=True), repository)
    there: Mapping[str, int] = {one.rfilename: one.size or 0 for one in info.siblings or ()}
    if lacking := [name for name in (*NEEDED, MANIFEST) if name not in there]:
        raise UserError(f"{HUB}{repository} has no {lacking[0]}: take a model that calotype push shared")
    for name in (*PARTS, MANIFEST):
        if name not in there:
            continue
        if there[name] > LARGEST:
            raise UserError(f"{name} of {HUB}{repository} has {there[name] / 1e9:.0f} GB, which is more than a model has")

        def bring(name: str = name) -> object:
            return hub.hf_hub_download(repository, name, revision=info.sha, local_dir=staging, endpoint=_endpoint())

        _asked(bring, repository)
    shutil.rmtree(staging / ".cache", ignore_errors=True)  # what the Hub's client keeps beside what it brings
    return str(info.sha)


def _hub() -> Any:
    if find_spec("huggingface_hub") is None:
        raise UserError("the Hugging Face Hub needs the package huggingface_hub (pip install huggingface_hub)")
    hub = import_module("huggingface_hub")
    import_module("huggingface_hub.utils").disable_progress_bars()
    return hub


def _endpoint() -> str | None:
    """The address of another hub, where the environment names one as it stands now."""
    return os.environ.get("HF_ENDPOINT")


def _asked(ask: Callable[[], T], repository: str) -> T:
    """What the Hub answers; its refusals in one line, without addresses and tokens."""
    errors = import_module("huggingface_hub.errors")
    try:
        return ask()
    except errors.LocalTokenNotFoundError:
        raise UserError("nobody is logged in to the Hub: hf auth login, or set HF_TOKEN") from None
    except errors.RevisionNotFoundError:
        raise UserError(f"{HUB}{repository} has no such revision") from None
    except errors.RepositoryNotFoundError:
        raise UserError(f"there is no {HUB}{repository}, or you may not see it: hf auth login, or set HF_TOKEN") from None
    except errors.HfHubHTTPError as error:
        code = getattr(getattr(error, "response", None), "status_code", None)
        if code in (401, 403):
            raise UserError(f"the Hub does not allow that in {HUB}{repository} ({code}): log in as who may (hf auth login)") from None
        raise CalotypeError(f"the Hub failed on {HUB}{repository} ({code or type(error).__name__}): try again later") from None
    except errors.HFValidationError:
        raise UserError(
            f"{HUB}{repository} is no name that the Hub takes: no -- or .., no - or . at an end, 96 characters at most"
        ) from None
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise
        raise CalotypeError(f"the Hub cannot be reached for {HUB}{repository} ({type(error).__name__}): try again later") from None
    except Exception as error:  # of the client that carries it, whichever that is
        if type(error).__module__.split(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2", "requests"):
            raise CalotypeError(f"the Hub cannot be reached for {HUB}{repository} ({type(error).__name__}): try again later") from None
        raise
