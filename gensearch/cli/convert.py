"""`gensearch convert`: a published checkpoint that exists only as a pickle, as safetensors that verifiers load."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gensearch.files.atomic import write_atomic

if TYPE_CHECKING:
    from verifiers.embedding.files import Converted

BLOCK = 1 << 20  # bytes that are hashed at a time


class Checkpoint(StrEnum):
    """The checkpoints that can be converted, each by `from_original` of its module."""

    hps = "hps"
    imagereward = "imagereward"
    aesthetic = "aesthetic"
    mask2former = "mask2former-openmmlab"

    def translator(self) -> Callable[[Mapping[str, Any]], Converted]:
        """What turns its content into tensors and settings."""
        module = "detect.openmmlab" if self is Checkpoint.mask2former else f"embedding.{self.value}"
        found: Callable[[Mapping[str, Any]], Converted] = import_module(f"verifiers.{module}").from_original
        return found

    def verifier(self, folder: Path) -> str:
        """The name of the verifier that loads a converted folder."""
        return f"geneval:mask2former@{folder}" if self is Checkpoint.mask2former else f"{self.value}:{folder}"

    def check(self, digest: str, unchecked: bool) -> None:
        """Check that a file is a published one, where its checksum is known.

        Args:
            digest: Its sha256, in hexadecimal.
            unchecked: Whether another file is taken all the same.

        Raises:
            ValueError: It is another file.
        """
        from verifiers.detect.openmmlab import PUBLISHED

        if self is Checkpoint.mask2former and not unchecked and digest[:8] not in PUBLISHED:
            raise ValueError(
                f"the sha256 of this file starts with {digest[:8]}, that of OpenMMLab's with {' or '.join(PUBLISHED)}: "
                "download it again, or take a checkpoint of your own with --unchecked"
            )


def convert(
    name: Annotated[Checkpoint, typer.Argument(help="What the file is.")],
    file: Annotated[Path, typer.Argument(help="The published .pt or .pth file, downloaded.")],
    out: Annotated[Path, typer.Argument(help="Folder for the safetensors and a small JSON file.")],
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Take a file of mask2former-openmmlab whose checksum is unknown.")
    ] = False,
) -> None:
    """Convert a published checkpoint to safetensors, once; only tensors are read from it, no code is run.

    Example: gensearch convert hps HPS_v2.1_compressed.pt weights/hps

    Then take the verifier hps:weights/hps. The files: HPS_v2.1_compressed.pt of xswu/HPSv2 (hps), ImageReward.pt of
    THUDM/ImageReward (imagereward), sac+logos+ava1-l14-linearMSE.pth of
    github.com/christophschuhmann/improved-aesthetic-predictor or sa_0_4_vit_l_14_linear.pth of
    github.com/LAION-AI/aesthetic-predictor (aesthetic), mask2former_swin-s-p4-w7-224_*.pth of
    github.com/open-mmlab/mmdetection, GenEval's detector (mask2former-openmmlab).
    """
    file, out = file.expanduser(), out.expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not empty; give another folder to write to, or empty it")
    content = read(file)
    digest = sha256(file)
    name.check(digest, unchecked)
    written = write(name.translator()(content), out, {"file": file.name, "sha256": digest})
    typer.echo(f"read    sha256 {digest}  {file}")
    typer.echo(f"written sha256 {sha256(written)}  {written}")
    typer.echo(f"verifier: {name.verifier(out)}")


def read(file: Path) -> Mapping[str, Any]:
    """The content of a pickle of tensors.

    Args:
        file: Such as ImageReward.pt.

    Raises:
        ValueError: There is no such file, it is damaged, or it holds something else than named tensors.
    """
    import torch

    if not file.is_file():
        raise ValueError(f"there is no file {file}; download the published checkpoint first")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)  # noqa: TID251 - unpickles tensors only
    except Exception as error:  # damaged files make it raise errors of many kinds
        why = " ".join(f"{type(error).__name__}: {error}".split())[:160].rstrip(".")
        raise ValueError(f"cannot read {file} as tensors ({why}); download the published checkpoint again") from error
    inner = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(inner, dict) or not inner or not all(isinstance(v, torch.Tensor) for v in inner.values()):
        raise ValueError(f"{file} holds no named tensors; give the published checkpoint")
    return {str(name): value for name, value in inner.items()}


def write(found: Converted, out: Path, source: Mapping[str, str]) -> Path:
    """Write tensors and settings, the latter last; the path of the tensors.

    Args:
        found: The converted checkpoint.
        out: Folder, made as needed.
        source: Name and sha256 of the original file.
    """
    from safetensors.torch import save

    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / found.weights, save({name: value.contiguous() for name, value in found.tensors.items()}))
    write_atomic(out / found.config, (json.dumps({**found.settings, "source": source}, indent=2) + "\n").encode())
    return out / found.weights


def sha256(file: Path) -> str:
    """The sha256 of a file, in hexadecimal.

    Args:
        file: Any.
    """
    total = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            total.update(block)
    return total.hexdigest()
