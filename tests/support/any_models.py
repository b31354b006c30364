"""Small classifiers of every kind that an audit takes, in a module that shadow models' workers can import."""

from __future__ import annotations

from dataclasses import dataclass

import timm
import torch
from torch import Tensor, nn

VOCABULARY, LENGTH, WIDTH, CLASSES = 20, 6, 5, 3


def mlp() -> nn.Module:
    """For tables (n, WIDTH)."""
    return nn.Sequential(nn.Linear(WIDTH, 16), nn.ReLU(), nn.Linear(16, CLASSES))


def wide_mlp() -> nn.Module:
    """For the same; so wide that it learns noise by heart."""
    return nn.Sequential(nn.Linear(WIDTH, 256), nn.ReLU(), nn.Linear(256, CLASSES))


def half_mlp() -> nn.Module:
    return mlp().half()


def bfloat16_mlp() -> nn.Module:
    return mlp().bfloat16()


def double_mlp() -> nn.Module:
    return mlp().double()


class TokenLSTM(nn.Module):
    """For token ids (n, L)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 8)
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.lstm(self.embedding(tokens))[0][:, -1])


class TwoInputs(nn.Module):
    """For a table and one id each."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(VOCABULARY, 8), nn.Linear(WIDTH + 8, CLASSES)

    def forward(self, table: Tensor, ids: Tensor) -> Tensor:
        return self.head(torch.cat([table, self.embedding(ids)], dim=1))


@dataclass
class Output:
    """What a model of the transformers library returns, in short."""

    logits: Tensor
    hidden: Tensor


class Masked(nn.Module):
    """For ids with a mask, by name; returns an object with logits."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(VOCABULARY, 8), nn.Linear(8, CLASSES)

    def forward(
        self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, extra: Tensor | None = None
    ) -> Output:
        assert attention_mask is not None and attention_mask.dtype == torch.bool and extra is None
        hidden = (self.embedding(input_ids) * attention_mask[:, :, None]).sum(1)
        return Output(self.head(hidden), hidden)


class OfDictionary(nn.Module):
    """For a dictionary as a whole; returns one, too."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = TwoInputs()

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"features": batch["table"], "logits": self.inner(batch["table"], batch["ids"])}


class OneLogit(nn.Module):
    """One logit a record, (n,)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, table: Tensor) -> Tensor:
        return self.body(table).squeeze(1)


def one_column() -> nn.Module:
    """The same, (n, 1)."""
    return nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, 1))


def one_probability() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid())


def probabilities() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, 16), nn.ReLU(), nn.Linear(16, CLASSES), nn.Softmax(dim=1))


def series() -> nn.Module:
    """For series (n, channels, T)."""
    return nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, CLASSES))


def images() -> nn.Module:
    """timm's smallest, for images 3 x 32 x 32."""
    return timm.create_model("test_resnet", pretrained=False, num_classes=CLASSES)


def transformer() -> nn.Module:
    """A small BERT, from a configuration; nothing is downloaded."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=LENGTH,
        num_labels=CLASSES,
    )
    return BertForSequenceClassification(config)
