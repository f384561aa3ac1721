"""scikit-learn's own checks of estimators, on MultiMaP as it is and on rows of any width."""

import numpy as np
import pytest
from scipy.sparse import issparse
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import check_is_fitted

import multimap_jax as mm

COLOR = mm.Aspect("color", "fruit", ("red", "green", "yellow"))
CONFIG = mm.ProxyConfig(steps=2, block_size=8)
# Their rows have 1 to 10 columns and any length: a CLIP's embeddings have one width, and length 1.
WIDTH = "rows of another width than the CLIP's"
OF_ANOTHER_WIDTH = """
    check_fit_score_takes_y check_estimators_overwrite_params check_dont_overwrite_parameters check_estimators_pickle
    check_estimators_fit_returns_self check_readonly_memmap_input check_n_features_in_after_fitting check_dtype_object
    check_positive_only_tag_during_fit check_estimators_dtypes check_pipeline_consistency check_estimators_nan_inf
    check_f_contiguous_array_estimator check_clustering check_methods_sample_order_invariance check_fit2d_1sample
    check_methods_subset_invariance check_fit2d_1feature check_dict_unchanged check_fit_idempotent check_n_features_in
    check_fit_check_is_fitted check_fit2d_predict1d
""".split()
NO_COLUMNS = {"check_estimators_empty_data_messages": "the sentence is that of any other width"}


class AnyWidth(mm.MultiMaP):
    """MultiMaP on rows of any width and length, made unit rows of the CLIP's width. What is no table of real numbers
    comes to it as it is."""

    def fit(self, X, y=None):
        super().fit(self.unit_rows(X))
        self.n_features_in_ = np.shape(X)[1]
        return self

    def predict(self, X):
        check_is_fitted(self)
        if np.ndim(X) == 2 and np.shape(X)[1] != self.n_features_in_:
            expected = f"is expecting {self.n_features_in_} features as input"
            raise ValueError(f"X has {np.shape(X)[1]} features, but AnyWidth {expected}")
        return super().predict(self.unit_rows(X))

    def unit_rows(self, X):
        if issparse(X) or np.ndim(X) != 2 or not np.size(X) or np.asarray(X).dtype.kind == "c":
            return X
        if np.asarray(X).dtype.kind == "O" and any(isinstance(value, dict) for value in np.ravel(X)):
            return X
        rows = np.asarray(X, float)
        longer = np.column_stack([rows, np.ones(len(rows))])  # so that rows of one direction stay different
        with np.errstate(invalid="ignore"):  # NaN and inf stay in their rows
            mixed = longer @ np.random.default_rng(0).normal(size=(longer.shape[1], self.clip.embedding_width))
            return mixed / np.linalg.norm(mixed, axis=1, keepdims=True)


def outcomes(model, expected):
    """{"passed": names of checks, …}, where `expected` says of the failing ones why."""
    found = {}
    for check in check_estimator(model, expected_failed_checks=expected, on_fail=None, on_skip=None):
        found.setdefault(check["status"], {})[check["check_name"]] = check["exception"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("features", ["span", "proxy"])
def test_checks_with_rows_of_any_width(clip, features):
    found = outcomes(AnyWidth(COLOR, clip, features=features, config=CONFIG), NO_COLUMNS)
    assert not found.get("failed") and found["xfail"].keys() == NO_COLUMNS.keys()
    assert len(found["passed"]) > 40


def test_checks_as_it_is(clip):
    expected = dict.fromkeys(OF_ANOTHER_WIDTH, WIDTH) | NO_COLUMNS
    found = outcomes(mm.MultiMaP(COLOR, clip, config=CONFIG), expected)
    assert not found.get("failed") and found["xfail"].keys() == expected.keys()
    assert {"check_complex_data", "check_estimator_sparse_array", "check_fit1d"} <= found["passed"].keys()
