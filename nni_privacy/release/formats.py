"""Further files of an exported model: ONNX, TorchScript and ``torch.export``, all with the preprocessing inside."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from nni_privacy.errors import ConfigError
from nni_privacy.release.loading import ReleasedModel
from nni_privacy.training.convolutions import DilatedDepthwise

__all__ = ["FORMATS", "Format", "check_formats", "write_format"]

_RECORDS = 3
"""Images of an example: neither one nor two, which an exporter may take for constants."""


class _Deployed(nn.Module):
    """A network and its preprocessing as exporters like them: no checks, constants as buffers."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: ReleasedModel) -> None:
        super().__init__()
        self.network = copy.deepcopy(model.network)
        for path, layer in list(self.network.named_modules()):
            if isinstance(layer, DilatedDepthwise):  # a way around slow kernels of torch's
                plain = nn.Conv2d(layer.in_channels, layer.out_channels, 1, groups=layer.groups, bias=False)
                plain.weight = layer.weight
                for name in ("kernel_size", "stride", "padding", "dilation", "_reversed_padding_repeated_twice"):
                    setattr(plain, name, getattr(layer, name))
                self.network.set_submodule(path, plain)
        self.scale = 255.0 if model.record.image_type == "uint8" else 1.0
        for name in ("mean", "std"):
            values = torch.tensor(getattr(model.record, name), dtype=torch.float32).view(1, -1, 1, 1)
            self.register_buffer(name, values)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network((images.float() / self.scale - self.mean) / self.std)
        return logits


@dataclass(frozen=True)
class Format:
    """A file that a model can be exported as.

    Attributes:
        file: its name.
        title: in sentences.
        write: the model, an example of images and a path -> the file.
        needs: packages that are not installed with this one.
    """

    file: str
    title: str
    write: Callable[[nn.Module, Tensor, Path], None]
    needs: tuple[str, ...] = ()


def _write_onnx(model: nn.Module, images: Tensor, path: Path) -> None:
    with contextlib.redirect_stdout(io.StringIO()):  # it tells every step
        torch.onnx.export(
            model,
            (images,),
            path,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _write_torchscript(model: nn.Module, images: Tensor, path: Path) -> None:
    torch.jit.save(torch.jit.trace(model, images), path)


def _write_program(model: nn.Module, images: Tensor, path: Path) -> None:
    torch.export.save(torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim("n")},)), path)


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "onnx": Format("model.onnx", "ONNX", _write_onnx, needs=("onnx", "onnxscript")),
        "torchscript": Format("model.torchscript.pt", "TorchScript", _write_torchscript),
        "torch_export": Format("model.pt2", "torch.export", _write_program),
    }
)


def check_formats(names: Iterable[str]) -> None:
    """Raises ConfigError if a format needs a package that is not installed."""
    for name in names:
        missing = [package for package in FORMATS[name].needs if find_spec(package) is None]
        if missing:
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{option}: needs {' and '.join(missing)}: pip install 'nni-privacy[export]'")


def write_format(name: str, model: ReleasedModel, folder: Path) -> None:
    """Writes a model as the format ``name``, for batches of any size of images as its data set has them.

    Raises:
        ConfigError: if its exporter cannot take the network.
    """
    chosen = FORMATS[name]
    images = torch.zeros(_RECORDS, *model.record.image_shape, dtype=getattr(torch, model.record.image_type))
    with _quiet(), torch.no_grad():
        try:
            chosen.write(_Deployed(model).eval(), images, folder / chosen.file)
        except OSError:
            raise
        except Exception as error:  # exporters raise whatever they like
            reason = f"{type(error).__name__}: {' '.join(str(error).split()):.160}"
            raise ConfigError(f"{chosen.title}: the network cannot be written as such ({reason})") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings and logs of exporters, which are about themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
