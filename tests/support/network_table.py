"""Prints the table of human-designed networks as docs/networks.md holds it: made from the code, compared by a test."""

from __future__ import annotations

import torch

from nni_privacy.networks import FAMILIES, build_network, feature_map_side

SIDES = (8, 28, 32, 64)


def network_table() -> str:
    """A row a network: millions of parameters (3 channels, 10 classes) and side of the last feature map, by image."""
    heads = " | ".join(f"{side} x {side}" for side in SIDES)
    head = f"| name | timm's | parameters, 32 x 32 | parameters, 64 x 64 | {heads} |"
    return "\n".join([head, "|---|---|---|---|" + "---|" * len(SIDES), *(_row(name) for name in FAMILIES)])


def _row(name: str) -> str:
    with torch.device("meta"):  # shapes without numbers
        networks = {side: build_network(name, in_channels=3, num_classes=10, image_size=side) for side in SIDES}
        sides = [feature_map_side(network, in_channels=3, image_size=side) for side, network in networks.items()]
    counts = [sum(parameter.numel() for parameter in networks[side].parameters()) / 1e6 for side in (32, 64)]
    cells = [*(f"{count:.2f} M" for count in counts), *(f"{side} x {side}" for side in sides)]
    return f"| `{name}` | `{FAMILIES[name]}` | {' | '.join(cells)} |"


if __name__ == "__main__":
    print(network_table())
