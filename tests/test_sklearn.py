"""At home in scikit-learn: its checks, its tools, its conventions."""

import numpy as np
import pytest
import sklearn.utils.estimator_checks as checks
from conftest import ESTIMATORS
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    cross_validate,
)
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from sk_autoencoder import ConvAutoencoderTransformer, DenoisingAutoencoder

BEYOND_THE_LIST = [
    "check_param_validation",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_dataframe_column_names_consistency",
    "check_n_features_in_after_fitting",
    "check_estimators_partial_fit_n_features",
    "check_inplace_ensure_writeable",
]


CHECKS = parametrize_with_checks(
    [
        ConvAutoencoderTransformer(max_epochs=20),
        DenoisingAutoencoder(max_epochs=20),
        ConvAutoencoderTransformer(architecture="plain", max_epochs=20),
        DenoisingAutoencoder(architecture="plain", max_epochs=20),
    ]
)


@pytest.mark.parametrize(
    # up to scikit-learn 1.8 it is a generator, which pytest no longer likes
    CHECKS.args[0],
    list(CHECKS.args[1]),
    ids=CHECKS.kwargs["ids"],
)
@pytest.mark.filterwarnings(
    # scikit-learn's checks mix arrays and frames on purpose
    "ignore:X (has|does not have valid) feature names:UserWarning"
)
def test_scikit_learn_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)


@pytest.mark.parametrize("name", BEYOND_THE_LIST)
@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.filterwarnings(
    "ignore:X (has|does not have valid) feature names:UserWarning",
    "ignore:noise_level=0.2 is in the units of X:UserWarning",
)
def test_scikit_learn_checks_outside_its_list(kind, name):
    cls, fixed = ESTIMATORS[kind]
    getattr(checks, name)(cls.__name__, cls(**fixed, max_epochs=2))


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:200] / 16, y[:200]


def test_grid_holds_pca_and_the_autoencoder_under_one_key(make, digits):
    X, y = digits
    pipeline = Pipeline(
        [("reduce", PCA()), ("scale", StandardScaler()), ("classify", SVC())]
    )
    grid = GridSearchCV(
        pipeline,
        {"reduce": [PCA(random_state=0), make()], "reduce__n_components": [3, 6]},
        cv=2,
        n_jobs=2,
        error_score="raise",
    ).fit(X, y)
    assert len(grid.cv_results_["mean_test_score"]) == 4
    assert grid.cv_results_["mean_test_score"].min() > 0.3
    assert grid.predict(X).shape == y.shape


def test_grid_of_numpy_integers(make, digits):
    grid = {"max_epochs": np.arange(1, 3), "batch_size": np.array([32, 64])}
    search = GridSearchCV(make(), grid, cv=2, error_score="raise").fit(digits[0][:60])
    assert search.best_estimator_.n_iter_ == search.best_params_["max_epochs"]


def test_parallel_grid_gives_what_a_serial_one_gives(make, digits):
    X, y = digits
    pipeline = make_pipeline(make(), SVC())
    scores = []
    for n_jobs in (1, 2):
        results = cross_validate(pipeline, X[:60], y[:60], cv=2, n_jobs=n_jobs)
        scores.append(results["test_score"])
    np.testing.assert_array_equal(*scores)


def test_halving_search(make, digits):
    X, y = digits
    search = HalvingGridSearchCV(
        make_pipeline(make(), LogisticRegression(max_iter=1000)),
        {"logisticregression__C": [0.1, 1.0]},
        cv=2,
        random_state=0,
    ).fit(X, y)
    assert search.best_params_["logisticregression__C"] in (0.1, 1.0)


def test_pipeline_memory_trains_once(make, digits, tmp_path, capsys):
    X, y = digits
    steps = [("ae", make(verbose=1)), ("classify", LogisticRegression(max_iter=1000))]
    pipeline = Pipeline(steps, memory=str(tmp_path))
    clone(pipeline).fit(X, y)
    assert "Epoch 1/2" in capsys.readouterr().out
    clone(pipeline).fit(X, y)
    assert "Epoch" not in capsys.readouterr().out


def test_feature_union_and_column_transformer(make, digits):
    X, _ = digits
    union = FeatureUnion([("ae", make()), ("pca", PCA(3))]).fit(X)
    assert union.transform(X).shape == (200, 8)
    assert len(union.get_feature_names_out()) == 8
    columns = ColumnTransformer(
        [("top", make(), slice(0, 32)), ("bottom", make(), slice(32, 64))]
    )
    assert columns.fit_transform(X).shape == (200, 10)


class GroupCounter(LogisticRegression):
    """A classifier that asks for groups, to see that they arrive."""

    def fit(self, X, y, groups=None):
        assert groups is not None
        return super().fit(X, y)


def test_metadata_is_routed_past_the_autoencoder(make, digits):
    X, y = digits
    groups = np.arange(len(X)) % 4
    with config_context(enable_metadata_routing=True):
        classifier = GroupCounter(max_iter=1000).set_fit_request(groups=True)
        grid = GridSearchCV(
            Pipeline([("ae", make()), ("classify", classifier)]),
            {"ae__n_components": [3, 5]},
            cv=GroupKFold(2),
            error_score="raise",
        )
        grid.fit(X, y, groups=groups)
    assert grid.best_params_["ae__n_components"] in (3, 5)


def test_clone_and_set_params(make):
    estimator = make(channels=(4, 8), strides=(2, 1), resize=[6, 6])
    copy = clone(estimator)
    assert copy.get_params() == estimator.get_params()
    assert copy.set_params(n_components=7).n_components == 7


def test_init_stores_its_arguments_and_nothing_else(make):
    estimator = make()
    assert vars(estimator) == estimator.get_params()


@pytest.mark.parametrize("y", [None, ["a", "b"] * 15, [None] * 30, np.zeros((30, 3))])
def test_any_y_is_ignored(make, X, y):
    expected = make().fit(X).transform(X)
    np.testing.assert_array_equal(make().fit(X, y).transform(X), expected)
    np.testing.assert_array_equal(make().fit_transform(X, y), expected)
