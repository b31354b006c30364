"""Trains a small network on handwritten digits with what NNI chooses."""

import nni
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

EPOCHS = 5


def main(chosen):
    images, labels = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(images[:600] / 16, labels[:600], test_size=0.5, random_state=0)
    network = MLPClassifier(
        hidden_layer_sizes=(chosen["units"],),
        learning_rate_init=chosen["learning_rate"],
        batch_size=chosen["batch_size"],
        random_state=0,
    )
    for _ in range(EPOCHS):
        network.partial_fit(x, y, classes=range(10))
        nni.report_intermediate_result(network.score(x_test, y_test))
    nni.report_final_result(network.score(x_test, y_test))


if __name__ == "__main__":
    main(nni.get_next_parameter())
