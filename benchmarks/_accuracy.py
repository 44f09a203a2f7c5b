"""How well codes tell classes apart."""

from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC


def accuracy(Z_train, Z_test, y_train, y_test):
    """Held-out accuracy of an SVC, its C and the scaling chosen by cross-validation."""
    classifier = GridSearchCV(
        Pipeline([("scale", StandardScaler()), ("svc", SVC())]),
        {"scale": [StandardScaler(), "passthrough"], "svc__C": [1, 10, 100]},
        cv=3,
    )
    return float(classifier.fit(Z_train, y_train).score(Z_test, y_test))
